"""Locking down the processes of commands before they meet what others made: never a caller's."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from scanner.auditing.options import AuditOptions
from scanner.base.leftovers import scratch_folder
from scanner.cli import gpu_trial
from scanner.cli.kept_paths import (
    inputs_of_audit,
    inputs_of_fit,
    inputs_of_inspection,
    inputs_of_scan,
    outputs_of_audit,
    outputs_of_fit,
    outputs_of_rendering,
    outputs_of_scan,
)
from scanner.fitting.options import FitOptions
from scanner.inputs.threads import usable_cores
from scanner.inputs.urls import url_of
from scanner.isolation import gpu
from scanner.isolation.lockdown import Layer, attempt
from scanner.isolation.own_process import Kept, limit_memory, lock_down_self
from scanner.isolation.paths import readable_paths, whole_path
from scanner.models.start_helper import Allowed, Helper, start_helper
from scanner.models.stored_bytes import stored_bytes
from scanner.scanning.options import ScanOptions

_BASE: Final = 2**31
_OF_FIT: Final = 2**31
_COPIES: Final = 8
_PER_THREAD: Final = 2**29
_DEVICES: Final = ("/sys/bus/pci", "/sys/class/drm", "/sys/devices")
"""What ONNX Runtime looks through when it is loaded."""

single_command = False
"""Whether this process runs one command and ends: set by the entry, and nowhere else."""


@contextmanager
def locked_scan(options: ScanOptions, *, wanted: bool) -> Iterator[tuple[Layer, ...]]:
    """Lock this process down to what a scan was asked to read and write, with a folder for temporary files of its own.

    Yields:
        The layers, those that are absent included.
    """
    if (absent := _absent("scan", wanted=wanted)) is not None:
        yield (absent,)
        return
    if url_of(options.inputs) is not None:
        yield (Layer("lockdown", False, "the inputs come over the network"),)
        return
    memory = _memory(_size(options.profile), options.threads or usable_cores())
    with _own_folder() as own:
        kept = _kept(own, inputs_of_scan(options), outputs_of_scan(options), memory)
        yield _lock_down(kept, options.device, with_torch=False)


@contextmanager
def locked_fit(
    options: FitOptions, audit: AuditOptions | None = None, *, wanted: bool
) -> Iterator[tuple[Helper | None, tuple[Layer, ...]]]:
    """The same for a fit, whose one need of other processes, a child that reads the model, a helper sees to.

    Args:
        options: What the fit does.
        audit: What an audit does after it; None without one.
        wanted: Whether it is to be locked down.

    Yields:
        What starts the child, or None where this process may; and the layers.
    """
    memory = _OF_FIT + _memory(stored_bytes(options.model), usable_cores())
    if (absent := _absent("fit", wanted=wanted)) is not None:
        if single_command and not gpu.present():
            attempt("limits", lambda: limit_memory(memory))
        yield None, (absent,)
        return
    checkpoint = None if options.bayesian is None else options.bayesian.checkpoint
    code = whole_path(options.architecture) if options.trust_code and options.architecture is not None else None
    allowed = Allowed(options.trust, code, options.timeout)
    with start_helper(allowed) as helper, _own_folder() as own, _made(checkpoint) as above:
        inputs = inputs_of_fit(options) if audit is None else inputs_of_audit(audit)
        outputs = [*outputs_of_fit(options), *([] if audit is None else outputs_of_audit(audit))]
        kept = _kept(own, inputs, [str(helper.place), *outputs], memory)
        kept = replace(kept, emptied=(*kept.emptied, *above))
        yield helper, _lock_down(kept, options.device, with_torch=options.bayesian is not None)


@contextmanager
def locked_inspection(file: Path, loads: float | None) -> Iterator[Helper | None]:
    """The same for a look at a file.

    Args:
        file: A model, its folder, or a profile.
        loads: Seconds that a child may take to load it; None where none is started.

    Yields:
        What starts that child; None where there is none, or this process may start it.
    """
    if not single_command:
        yield None
        return
    # Loaded, the network is here as well, beside the libraries that say which of its layers can be tapped.
    memory = _memory(stored_bytes(file), 1) + (0 if loads is None else _OF_FIT)
    with ExitStack() as stack:
        helper = None if loads is None else stack.enter_context(start_helper(Allowed(False, None, loads)))
        own = stack.enter_context(_own_folder())
        lock_down_self(_kept(own, inputs_of_inspection(file), [] if helper is None else [str(helper.place)], memory))
        yield helper


@contextmanager
def locked_rendering(report: Path, output: str) -> Iterator[None]:
    """The same for writing a report in another format."""
    with _locked_reading([str(report)], outputs_of_rendering(output), _size(report)):
        yield


@contextmanager
def locked_verification(models: Sequence[Path], reports: Sequence[Path]) -> Iterator[None]:
    """The same for a comparison of models with reports."""
    inputs = [path for model in models for path in inputs_of_inspection(model)]
    largest = max([*map(stored_bytes, models), *map(_size, reports)])
    with _locked_reading([*inputs, *map(str, reports)], [], largest):
        yield


@contextmanager
def _locked_reading(inputs: Sequence[str], outputs: Sequence[str], largest: int) -> Iterator[None]:
    if single_command:
        with _own_folder() as own:
            lock_down_self(_kept(own, inputs, outputs, _memory(largest, 1)))
            yield
    else:
        yield


@contextmanager
def locked_audit(options: AuditOptions, *, wanted: bool) -> Iterator[tuple[Helper | None, tuple[Layer, ...]]]:
    """The same for an audit, which reads a model as a fit does.

    Yields:
        What starts the child, or None where this process may; and the layers.
    """
    opening = options.opening
    memory = _OF_FIT + _memory(stored_bytes(opening.model), usable_cores())
    if (absent := _absent("audit", wanted=wanted)) is not None:
        if single_command and not gpu.present():
            attempt("limits", lambda: limit_memory(memory))
        yield None, (absent,)
        return
    code = whole_path(opening.architecture) if opening.trust_code and opening.architecture is not None else None
    with start_helper(Allowed(opening.trust, code, opening.timeout)) as helper, _own_folder() as own:
        kept = _kept(own, inputs_of_audit(options), [str(helper.place), *outputs_of_audit(options)], memory)
        yield helper, _lock_down(kept, opening.device, with_torch=False)


def _absent(what: str, *, wanted: bool) -> Layer | None:
    """Why this process gives up nothing, or None where it does."""
    if not wanted:
        return Layer("lockdown", False, "switched off by --no-lockdown")
    if not single_command:
        return Layer("lockdown", False, f"the {what} is part of a larger process")
    return None


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder for temporary files, also of those who look for one later."""
    with scratch_folder() as own:
        os.environ["TMPDIR"] = tempfile.tempdir = str(own)
        yield own


@contextmanager
def _made(folder: Path | None) -> Iterator[list[str]]:
    """Make a folder, which has to be there to be kept; what of it was new and stayed empty is removed at the end.

    Yields:
        The folder in which the first new one is, for the removal; nothing without one.
    """
    new = [] if folder is None else [path for path in (folder, *folder.parents) if not _is_there(path)]
    with suppress(OSError, ValueError):  # why it cannot be made is said later
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    try:
        yield [str(new[-1].parent)] if new else []
    finally:
        for path in new:
            with suppress(OSError):
                path.rmdir()


def _is_there(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.exists()
    return True


def _kept(own: Path, readable: Sequence[str], writable: Sequence[str], memory: int) -> Kept:
    return Kept(
        readable=(*readable_paths(sys.path), *_DEVICES, *readable),
        writable=(str(own), *writable),
        emptied=(str(own.parent),),
        memory=memory,
    )


def _lock_down(kept: Kept, device: str, *, with_torch: bool) -> tuple[Layer, ...]:
    """Lock down for good; beside a GPU that may be used, in a way in which it works, or else not."""
    if device == "cpu" or not gpu.present():
        return lock_down_self(kept)
    # What the driver compiles it keeps in the user's home, where a process that was taken over could change it.
    os.environ["CUDA_CACHE_PATH"] = os.environ["TMPDIR"]
    beside = replace(kept, readable=(*kept.readable, *gpu.READABLE), devices=gpu.devices(), memory=None)
    if gpu_trial.works(beside, with_torch=with_torch):
        return lock_down_self(beside)
    if gpu_trial.works(None, with_torch=with_torch):
        return (Layer("lockdown", False, "the GPU does not work within it on this machine"),)
    return lock_down_self(kept)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except (OSError, ValueError):
        return 0


def _memory(size: int, threads: int) -> int:
    """Bytes: of libraries, of weights in several copies, and of the activations in every thread."""
    return _BASE + _COPIES * size + _PER_THREAD * threads
