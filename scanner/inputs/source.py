"""What a source of images is, and opening one: a folder, a manifest, an array file or one image."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scanner.errors import SourceError

ARRAY_SUFFIXES = (".npy", ".npz")
MANIFEST_SUFFIXES = (".csv", ".jsonl")


class UnreadableInput(Exception):
    """One input that cannot be used.

    Args:
        reason: Short stable code, for counting: ``"truncated"``, ``"too-large"``.
        detail: What exactly is wrong.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Item:
    """One input, not yet read.

    Attributes:
        index: Position in the source's canonical order.
        id: Path relative to the source with forward slashes, or ``"images.npz[17]"``.
        label: Class name as written, or None.
    """

    index: int
    id: str
    label: str | None


class Source(Protocol):
    """An ordered set of images, read one at a time."""

    @property
    def kind(self) -> str:
        """``"class-folders"``, ``"folder"``, ``"manifest"``, ``"array"`` or ``"file"``."""

    @property
    def root(self) -> Path:
        """What the user pointed at."""

    @property
    def items(self) -> Sequence[Item]:
        """All items in canonical order."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Label names in natural order, or None without labels."""

    @property
    def ignored(self) -> int:
        """Files in a folder that are not images by their name."""

    def read(self, item: Item) -> bytes | NDArray[np.uint8]:
        """Encoded bytes of a file, or the pixels ``(H, W)`` or ``(H, W, C)`` of an array item.

        Raises:
            UnreadableInput: If it cannot be read.
        """


def open_source(path: Path, *, labels: bool = True) -> Source:
    """Open whatever ``path`` is.

    Args:
        path: Folder (of images, or of one folder per class), ``.csv`` or ``.jsonl`` manifest,
            ``.npy`` or ``.npz`` array, or a single image file.
        labels: Whether labels are wanted: class folders and label columns are ignored otherwise.

    Raises:
        SourceError: If the path is missing, empty, or of no known kind.
    """
    from scanner.inputs.arrays import open_array
    from scanner.inputs.folder import open_file, open_folder
    from scanner.inputs.manifest import open_manifest

    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SourceError(
            f"cannot be opened ({error.strerror})", where=str(path), hint="Give a folder, manifest, array or image"
        ) from None
    except ValueError:
        raise SourceError("is not a valid path", where=repr(str(path))) from None
    if stat.S_ISDIR(mode):
        return open_folder(path, labels=labels)
    if not stat.S_ISREG(mode):
        raise SourceError("is neither a file nor a folder", where=str(path))
    suffix = path.suffix.lower()
    if suffix in ARRAY_SUFFIXES:
        return open_array(path, labels=labels)
    if suffix in MANIFEST_SUFFIXES:
        return open_manifest(path, labels=labels)
    return open_file(path)


def natural_order(names: set[str]) -> tuple[str, ...]:
    """Sort names so that ``"10"`` comes after ``"2"``."""

    def key(name: str) -> tuple[tuple[int, int, str], ...]:
        parts = re.split(r"([0-9]+)", name)
        return tuple((0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part) for part in parts)

    return tuple(sorted(names, key=lambda name: (key(name), name)))
