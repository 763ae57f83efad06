"""What a hostile case is: the files, the command that meets them, and the outcome that is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SCAN, INSPECT, LAYERS, ARCH, FIT = "scan", "inspect", "layers", "arch", "fit"


@dataclass(frozen=True)
class Case:
    """One hostile input.

    Attributes:
        name: Unique, usable as a folder's name.
        make: Writes the case's files into a new folder and returns the path to give to the command. The second
            argument is the canary that a payload would create, the third a folder with a good profile, ``good.h5``.
        command: ``scan`` the path with a good profile, ``scan-with`` the path as profile, ``scan-model``
            with the path as the model that the profile should be of, ``inspect`` it, list its
            ``layers`` in the child process, or ``fit`` it.
        code: Exit code.
        says: Text in the output, report included.
        options: Further arguments of the command.
        within: Whether the working directory is the folder with the case's files, and not one apart.
    """

    name: str
    make: Callable[[Path, Path, Path], Path]
    command: str
    code: int
    says: str = ""
    options: tuple[str, ...] = ()
    within: bool = False
