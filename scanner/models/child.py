"""The child process that reads a model file: it may crash, hang or be fooled without harm to the parent.

It is locked down by :mod:`scanner.isolation.lockdown` before this module is imported, works in a directory of its
own, reads a job from standard input, and leaves the graph, the weights and a result there.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from scanner.base.errors import LatentscanError, UnsafeModelError, UsageError
from scanner.isolation.lockdown import lower
from scanner.models import job as messages
from scanner.models.identify import PROGRAMS, FileKind
from scanner.models.job import Failed, Job, Loaded, Result, TapMessage

if TYPE_CHECKING:
    from scanner.graph.bundle import GraphBundle
    from scanner.graph.taps import Tap

_MAX_JOB_BYTES = 4 * 1024 * 1024
_PROBE_IMAGES = 4
_MAX_TEXT = 4096


def main() -> None:
    """Do the job given on standard input, in the current directory."""
    job = Job.model_validate_json(sys.stdin.buffer.read(_MAX_JOB_BYTES))
    warnings.simplefilter("ignore")
    result: Loaded | Failed
    try:
        if job.kind is FileKind.ONNX:
            import onnx  # noqa: F401 - loaded before the memory is limited
        else:
            _import_libraries(job)
        _limit_memory(job)
        result = _load(job)
    except LatentscanError as error:
        result = _failed(error)
    except MemoryError:
        result = Failed(error="ModelError", what="loading it takes more memory than is allowed", where=None, hint=None)
    except Exception as error:  # a bug of ours or of a library: the parent reports it in one line
        traceback.print_exc()
        what = f"it cannot be loaded ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        result = Failed(error="ModelError", what=what, where=None, hint=None)
    Path(messages.RESULT_FILE).write_text(Result(result=result).model_dump_json(), encoding="utf-8")


def _import_libraries(job: Job) -> None:
    """Load what builds and exports the network before the memory is limited.

    Modules stay, so looking for garbage among them, again and again while they are loaded and later, is seconds of work
    for nothing.
    """
    gc.disable()
    import torch.onnx  # noqa: F401

    import scanner.models.export
    import scanner.models.weights_file  # noqa: F401

    if job.kind is FileKind.KERAS:
        from scanner.models.architectures.keras_network import import_keras

        import_keras()
    if job.config is not None and job.architecture is None:
        from scanner.models.architectures.registry import import_library

        import_library(job.config.framework)
    gc.freeze()
    gc.enable()


def _limit_memory(job: Job) -> None:
    """Bound the address space from here on: libraries have reserved much of it by now that they never use."""
    try:
        import resource
    except ImportError:
        return
    used = Path("/proc/self/statm")
    if used.exists():
        lower(resource.RLIMIT_AS, int(used.read_text().split()[0]) * resource.getpagesize() + job.memory)


def _load(job: Job) -> Loaded:
    if job.kind is FileKind.ONNX:
        return _load_onnx(job)
    if job.kind in PROGRAMS:
        return _load_program(job)
    return _load_checkpoint(job)


def _load_onnx(job: Job) -> Loaded:
    from scanner.models.onnx_file import Wanted, read_onnx

    parsed = read_onnx(
        Path(messages.MODEL_FILE),
        folder=Path(messages.EXTERNAL_FOLDER),
        wanted=Wanted(job.input_size, job.num_classes, job.output),
        probe=_probe(job),
        threads=job.threads,
    )
    _require_taps(parsed.candidates, parsed.bundle)
    _write(parsed.bundle)
    return Loaded(
        architecture="onnx",
        input_shape=parsed.input_shape,
        layout=parsed.layout,
        num_classes=parsed.num_classes,
        candidates=[_message(tap) for tap in parsed.candidates],
        parity=None,
        notes=list(parsed.notes),
        metadata=parsed.metadata,
    )


def _load_program(job: Job) -> Loaded:
    from scanner.models.onnx_file import Wanted, read_onnx
    from scanner.models.programs import load_program

    if not job.trust:
        raise UnsafeModelError("loading it would run code from the file")
    program = load_program(Path(messages.MODEL_FILE), job.kind, input_size=job.input_size, threads=job.threads)
    folder = Path(messages.CONVERTED_FOLDER)
    folder.mkdir()
    program.export(folder / messages.GRAPH_FILE)
    wanted = Wanted(num_classes=job.num_classes)
    parsed = read_onnx(folder / messages.GRAPH_FILE, folder=folder, wanted=wanted, threads=job.threads)
    _require_taps(parsed.candidates, parsed.bundle)
    _write(parsed.bundle)
    return Loaded(
        architecture=program.architecture,
        input_shape=parsed.input_shape,
        layout=parsed.layout,
        num_classes=parsed.num_classes,
        candidates=[_message(tap) for tap in parsed.candidates],
        parity=program.parity(parsed.bundle),
        notes=[*program.notes, *parsed.notes],
        metadata={},
    )


def _load_checkpoint(job: Job) -> Loaded:
    from scanner.models.export import export_network
    from scanner.models.weights_file import open_weights

    weights = open_weights(Path(messages.MODEL_FILE), job)
    network = weights.network
    probe = _probe(job)
    if probe is None or probe.shape[1:] != network.input_shape:
        shape = (_PROBE_IMAGES, *network.input_shape)
        probe = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    exported = export_network(network.module, network.input_shape, probe, threads=job.threads)
    _require_taps(exported.candidates, exported.bundle)
    _write(exported.bundle)
    return Loaded(
        architecture=network.architecture,
        rivals=list(weights.rivals),
        input_shape=network.input_shape,
        layout="NCHW",
        num_classes=exported.num_classes,
        candidates=[_message(tap) for tap in exported.candidates],
        parity=exported.parity,
        notes=list(network.notes),
        metadata={},
    )


def _probe(job: Job) -> NDArray[np.float32] | None:
    if not job.has_probe:
        return None
    probe: NDArray[np.float32] = np.load(messages.PROBE_FILE, allow_pickle=False)
    return probe


def _write(bundle: GraphBundle) -> None:
    graph, weights = bundle.serialise()
    Path(messages.GRAPH_FILE).write_bytes(graph)
    Path(messages.WEIGHTS_FILE).write_bytes(weights)


def _require_taps(candidates: Sequence[Tap], bundle: GraphBundle) -> None:
    """Refuse a network in which nothing can be observed, with the reason.

    Raises:
        ModelError: If there is no candidate.
    """
    if not candidates:
        from scanner.graph.untappable import require_taps

        require_taps(bundle.proto)


def _message(tap: Tap) -> TapMessage:
    return TapMessage(
        name=tap.name,
        tensor=tap.tensor,
        shape=tap.shape,
        layout=tap.layout,
        channels=tap.channels,
        class_token=tap.class_token,
        depth=tap.depth,
        element=tap.element,
    )


def _failed(error: LatentscanError) -> Failed:
    name: Literal["ModelError", "UnsafeModelError", "UsageError"] = "ModelError"
    if isinstance(error, UnsafeModelError):
        name = "UnsafeModelError"
    elif isinstance(error, UsageError):
        name = "UsageError"
    where = error.where[:_MAX_TEXT] if error.where else None
    hint = error.hint[:_MAX_TEXT] if error.hint else None
    return Failed(error=name, what=error.what[:_MAX_TEXT], where=where, hint=hint)


if __name__ == "__main__":
    os.umask(0o077)
    main()
