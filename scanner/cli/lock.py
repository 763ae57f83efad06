"""Locking down the process of ``scan`` before it meets what others made: only the command's own, never a caller's."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scanner.base.leftovers import scratch_folder
from scanner.inputs.threads import usable_cores
from scanner.isolation.lockdown import Layer, attempt
from scanner.isolation.own_process import Kept, limit_memory, lock_down_self
from scanner.isolation.paths import readable_paths
from scanner.scanning.options import ScanOptions

_GPU: Final = Path("/dev/nvidiactl")
_LISTS: Final = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow")
_STREAM: Final = "-"
_BASE: Final = 2**31
_OF_FIT: Final = 2**31
_COPIES: Final = 8
_PER_THREAD: Final = 2**29
_DEVICES: Final = ("/sys/bus/pci", "/sys/class/drm", "/sys/devices")
"""What ONNX Runtime looks through when it is loaded."""

single_command = False
"""Whether this process runs one command and ends: set by the entry, and nowhere else."""


@contextmanager
def locked_down(options: ScanOptions, *, wanted: bool) -> Iterator[tuple[Layer, ...]]:
    """Lock this process down to what a scan was asked to read and write, with a folder for temporary files of its own.

    Yields:
        The layers, those that are absent included.
    """
    if not wanted or not single_command:
        why = "switched off by --no-lockdown" if not wanted else "the scan is part of a larger process"
        yield (Layer("lockdown", False, why),)
        return
    if options.device != "cpu" and _GPU.exists():
        yield (Layer("lockdown", False, "a GPU's driver needs devices, files and sockets of its own"),)
        return
    above = tempfile.gettempdir()
    with scratch_folder() as own:
        os.environ["TMPDIR"] = tempfile.tempdir = str(own)
        yield lock_down_self(
            Kept(
                readable=(*readable_paths(sys.path), *_DEVICES, *_inputs(options)),
                writable=(str(own), *_outputs(options)),
                emptied=(above,),
                memory=_memory(options.profile, options.threads or usable_cores()),
            )
        )


def bound_fit(model: Path) -> None:
    """Bound the memory of the process of ``fit``, which shows the reference to a vendor's graph."""
    if single_command and not _GPU.exists():
        attempt("limits", lambda: limit_memory(_OF_FIT + _memory(model, usable_cores())))


def _memory(file: Path, threads: int) -> int:
    """Bytes: of libraries, of weights in several copies, and of the activations in every thread."""
    try:
        size = file.stat().st_size
    except (OSError, ValueError):
        size = 0
    return _BASE + _COPIES * size + _PER_THREAD * threads


def _inputs(options: ScanOptions) -> list[str]:
    """What is read; beside lists of images, their folders."""
    found = [options.inputs, options.profile, options.model, options.baseline, options.ignore, options.clean]
    images = [path for path in (options.inputs, options.clean) if path is not None]
    found += [path.absolute().parent for path in images if path.suffix.lower() in _LISTS]
    if options.follow_links:
        # Links may lead anywhere, and where they do is not known before they are read.
        found.append(Path("/"))
    return [str(path) for path in found if path is not None]


def _outputs(options: ScanOptions) -> list[str]:
    """Folders of the files that are written, behind links as well; of a device or a pipe, itself."""
    files: Sequence[Path] = [Path(report) for report in options.reports if report != _STREAM]
    files = [*files, *([] if options.rows is None else [options.rows])]
    found: list[str] = []
    for file in files:
        real = Path(os.path.realpath(file))
        found.append(str(real if _is_special(real) else real.parent))
    return found


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
