"""Loading a model file: in a child process, so that the parent only ever sees a checked graph.

Formats whose loading runs code from the file are refused before any process is started.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import ValidationError

from scanner.base.errors import LatentscanError, ModelError, UnsafeModelError, UsageError
from scanner.base.files import open_regular
from scanner.graph.bundle import IMAGE, LOGITS, GraphBundle, external_range, is_external
from scanner.graph.onnx_outline import outline_path, refuse_unsafe
from scanner.graph.shapes import BATCH, declared_type
from scanner.graph.structure.analyse import Structure, analyse
from scanner.graph.structure.read import read_program_bytes
from scanner.graph.structure.words import suspicions
from scanner.graph.taps import TAPPABLE, Tap
from scanner.isolation.lockdown import Layer
from scanner.isolation.paths import whole_path
from scanner.models import job as messages
from scanner.models.beside import copy_beside
from scanner.models.folder import NetworkConfig, config_beside
from scanner.models.identify import PROGRAMS, WEIGHTS, FileKind, ModelFile
from scanner.models.job import ConfigMessage, Failed, Job, Loaded, Result
from scanner.models.shards import digest_of, one_of_several
from scanner.models.starter import ChildStarter, StartHere
from scanner.models.structure import structure_of

_MIN_MEMORY: Final = 11 * 2**28
"""Bytes for a small file whose author chose what is computed: with what libraries take, below three GiB."""
_MIN_MEMORY_OF_OURS: Final = 8 * 2**30
"""The same for weights of a named architecture, which is this tool's: what it computes is known, and may be large."""
_MEMORY_PER_FILE_BYTE: Final = 24
_MAX_THREADS: Final = 4
_MAX_GRAPH_BYTES: Final = 512 * 2**20
_MAX_RESULT_BYTES: Final = 64 * 2**20
_COPY_BYTES: Final = 4 * 2**20

_ERRORS: Final[Mapping[str, type[LatentscanError]]] = MappingProxyType(
    {"ModelError": ModelError, "UnsafeModelError": UnsafeModelError, "UsageError": UsageError}
)
_WITH_NETWORK: Final[Mapping[FileKind, str]] = MappingProxyType(
    {
        FileKind.ONNX: "an ONNX file",
        FileKind.KERAS: "a Keras archive",
        FileKind.TORCHSCRIPT: "a TorchScript file",
        FileKind.EXPORTED_PROGRAM: "an exported program",
        FileKind.PICKLED_MODULE: "a pickled module",
        FileKind.PICKLE: "a pickle",
    }
)
_WAY_FORWARD: Final = (
    "Ask the vendor for ONNX, or for the weights alone as torch.save(model.state_dict(), ...) writes them, "
    "with --arch where they do not say the network; --trust loads it all the same and lets it run code"
)
_WAY_FORWARD_PICKLE: Final = (
    "Ask the vendor for ONNX, or for the weights alone as torch.save(model.state_dict(), ...) writes them; if it holds "
    "a whole network, --trust loads it and lets it run code"
)


@dataclass(frozen=True)
class LoadedModel:
    """A classifier as a graph, whatever file it came from.

    Attributes:
        file: The file.
        architecture: Name of the network, or ``onnx``.
        rivals: Other networks that the weights fit equally well, where it was told from them.
        class_names: Names of the outputs, where a file beside the weights has them; empty otherwise.
        bundle: The graph: input ``image``, output ``logits``, dynamic batch.
        input_shape: Channels, height and width.
        layout: Order of the image's axes.
        num_classes: Size of the logits.
        candidates: Every place worth observing, in order of depth.
        parity: Largest relative difference between PyTorch and ONNX Runtime over logits and taps; None
            for ONNX files.
        notes: What was done to the file's content that the user should know.
        metadata: The ONNX file's own metadata, printable and bounded.
        isolation: The layers of isolation that it was loaded in, and those that were absent.
        ran_file: Whether loading may have run code from the file.
        structure: How the graph is built: of the file as it is for ONNX, else of the graph that it was exported to.
    """

    file: ModelFile
    architecture: str
    bundle: GraphBundle
    input_shape: tuple[int, int, int]
    layout: Literal["NCHW", "NHWC"]
    num_classes: int
    candidates: tuple[Tap, ...]
    parity: float | None
    notes: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    isolation: tuple[Layer, ...] = ()
    ran_file: bool = False
    structure: Structure = field(default_factory=lambda: Structure(None))
    rivals: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadOptions:
    """How a model file is loaded.

    Attributes:
        architecture: For files of weights: a name, or ``file.py:callable`` with ``trust_code``; None to tell it from
            the weights.
        trust: Whether a file whose loading runs code from it may be loaded all the same.
        trust_code: Whether ``architecture`` may name Python code to run.
        input_size: Height and width, where the file leaves them open.
        num_classes: To check against the file.
        timeout: Seconds, on the clock.
        key: Where in a checkpoint the weights are; None to find out.
        output: Which output of an ONNX graph the logits are; None to find out.
        starter: Who starts the child.
    """

    architecture: str | None = None
    trust: bool = False
    trust_code: bool = False
    input_size: tuple[int, int] | None = None
    num_classes: int | None = None
    timeout: float = 600.0
    key: str | None = None
    output: str | None = None
    starter: ChildStarter = field(default_factory=StartHere)


def load_model(
    file: ModelFile, options: LoadOptions = LoadOptions(), probe: NDArray[np.float32] | None = None
) -> LoadedModel:
    """Load an identified file.

    Args:
        file: From :func:`scanner.models.identify.identify`.
        options: How to load it.
        probe: A few normalised images (N, C, H, W) on which parity is measured; noise by default.

    Raises:
        UnsafeModelError: Loading the file would run code from it, or leave its folder.
        ModelError: The file is damaged or not supported, has changed since it was identified, or loading
            it crashed or took too long.
        UsageError: The options contradict the file.
    """
    _refuse(file, options.trust)
    only_weights = file.kind in WEIGHTS
    if not only_weights and options.architecture is not None:
        raise UsageError(f"{_WITH_NETWORK[file.kind]} contains its network", where="--arch", hint="Leave --arch out")
    if not only_weights and options.key is not None:
        raise UsageError(f"{_WITH_NETWORK[file.kind]} is no checkpoint", where="--key", hint="Leave --key out")
    if file.kind is not FileKind.ONNX and options.output is not None:
        raise UsageError("it names an output of an ONNX graph", where="--output-name", hint="Leave it out")
    config = config_beside(file.path) if only_weights else None
    with options.starter.folder() as work:
        _copy(file, work)
        if probe is not None:
            np.save(work / messages.PROBE_FILE, np.ascontiguousarray(probe, dtype=np.float32), allow_pickle=False)
        job = Job(
            kind=file.kind,
            architecture=None if options.architecture is None else whole_path(options.architecture),
            key=options.key,
            sharded=bool(file.shards),
            config=_config(config),
            output=options.output,
            trust=options.trust,
            trust_code=options.trust_code,
            input_size=options.input_size,
            num_classes=options.num_classes,
            has_probe=probe is not None,
            memory=max(_MIN_MEMORY_OF_OURS if only_weights else _MIN_MEMORY, _MEMORY_PER_FILE_BYTE * file.size),
            seconds=int(options.timeout * _MAX_THREADS) + 10,
            threads=min(_MAX_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1),
        )
        structure = _structure_of_file(file, work)
        try:
            isolation = options.starter.run(job, work, options.timeout, where=str(file.path))
            model = _collect(file, work, job.memory)
        except ModelError as error:
            raise _with_suspicions(error, structure) from error
        if structure is None:
            structure = analyse(read_program_bytes(model.bundle.proto.SerializeToString()))
        names = () if config is None or len(config.class_names) != model.num_classes else config.class_names
        ran = options.trust and file.kind in PROGRAMS
        return replace(model, isolation=isolation, ran_file=ran, structure=structure, class_names=names)


def _config(config: NetworkConfig | None) -> ConfigMessage | None:
    if config is None:
        return None
    return ConfigMessage(
        framework=config.framework, architecture=config.architecture, text=config.text, input_size=config.input_size
    )


def _refuse(file: ModelFile, trust: bool) -> None:
    where = str(file.path)
    if file.kind in PROGRAMS and not trust:
        imports = f" (it imports {_few(file.imports)})" if file.imports else ""
        hint = _WAY_FORWARD if file.kind is not FileKind.PICKLE else _WAY_FORWARD_PICKLE
        raise UnsafeModelError(f"{file.description}{imports}", where=where, hint=hint)
    if file.kind in PROGRAMS and file.shards:
        raise UnsafeModelError(f"{file.description}; --trust loads one file, not several", where=where)
    if not file.shards and one_of_several(file.path.name) and file.kind in WEIGHTS:
        raise ModelError("one of several files of weights", where=where, hint="Give the folder, or the index beside it")
    if file.kind in (FileKind.UNKNOWN, FileKind.HDF5_PROFILE):
        raise ModelError(
            f"not a model file: {file.description}",
            where=where,
            hint="Supported are ONNX, safetensors, PyTorch checkpoints and Keras archives",
        )


def _structure_of_file(file: ModelFile, work: Path) -> Structure | None:
    """How the graph in an ONNX file is built, told before anything of it is expanded or run; None for other files."""
    try:
        return structure_of(replace(file, path=work / messages.MODEL_FILE))
    except ModelError as error:
        raise ModelError(error.what, where=str(file.path), hint=error.hint) from error


def _with_suspicions(error: ModelError, structure: Structure | None) -> ModelError:
    """A backdoor in the graph may be why the network cannot be loaded: the user is to know it all the same."""
    found = suspicions(structure) if structure is not None else []
    if not found:
        return error
    told = ". ".join(f"{rule}: {sentence}" for rule, sentence in found)
    return type(error)(f"{error.what}. Besides, the graph looks built to hide something. {told}", where=error.where)


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _copy(file: ModelFile, work: Path) -> None:
    """Copy what was identified, and what it refers to; from here on, nobody else can change it."""
    where = str(file.path)
    digest = hashlib.sha256()
    target = work / messages.MODEL_FILE
    try:
        with open_regular(file.path) as source, target.open("xb") as copy:
            while block := source.read(_COPY_BYTES):
                digest.update(block)
                copy.write(block)
        beside = work / messages.EXTERNAL_FOLDER
        names: Sequence[str] = file.shards
        if file.kind is FileKind.ONNX:
            outline = outline_path(target)
            refuse_unsafe(outline)
            names = outline.external
        copy_beside(file.path, names, beside)
        if _digest(file, digest.hexdigest(), beside, names) != file.sha256:
            raise ModelError("the file changed while it was read", where=where)
    except OSError as error:
        raise ModelError(f"the file cannot be copied ({error.strerror})", where=where) from error
    except ModelError as error:
        raise type(error)(error.what, where=where, hint=error.hint) from error


def _digest(file: ModelFile, own: str, beside: Path, names: Sequence[str]) -> str:
    """The digest of what was copied, as it was identified."""
    if not names:
        return own
    digests = {}
    for name in names:
        with (beside / name).open("rb") as copy:
            digests[name] = hashlib.file_digest(copy, "sha256").hexdigest()
    return digest_of((file.path.name, own), digests)


def _collect(file: ModelFile, work: Path, memory: int) -> LoadedModel:
    """Check what the child left, as if a stranger had written it."""
    where = str(file.path)
    try:
        result = Result.model_validate_json(_read(work / messages.RESULT_FILE, _MAX_RESULT_BYTES)).result
    except ValidationError as error:
        raise ModelError("loading the model gave a malformed result", where=where) from error
    if isinstance(result, Failed):
        raise _ERRORS[result.error](result.what, where=result.where or where, hint=result.hint)
    graph = _read(work / messages.GRAPH_FILE, _MAX_GRAPH_BYTES)
    weights = _read(work / messages.WEIGHTS_FILE, memory)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(graph)
    except Exception as error:  # protobuf's DecodeError
        raise ModelError("loading the model gave a malformed graph", where=where) from error
    taps = tuple(Tap(**tap.model_dump()) for tap in result.candidates)
    bundle = GraphBundle(proto, weights)
    _check(bundle, result, taps, where)
    return LoadedModel(
        file=file,
        architecture=result.architecture,
        bundle=bundle,
        input_shape=result.input_shape,
        layout=result.layout,
        num_classes=result.num_classes,
        candidates=taps,
        parity=result.parity,
        notes=tuple(result.notes),
        metadata=MappingProxyType(dict(result.metadata)),
        rivals=tuple(result.rivals),
    )


def _read(path: Path, limit: int) -> bytes:
    """A file that the child wrote: a regular one, not a link, and not too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode) or state.st_size > limit:
                raise ModelError(f"loading the model gave an unusable file {path.name!r}")
            return file.read(state.st_size)
    except OSError as error:
        raise ModelError(f"loading the model left no file {path.name!r} ({error.strerror})") from error


def _check(bundle: GraphBundle, result: Loaded, taps: tuple[Tap, ...], where: str) -> None:
    graph = bundle.proto.graph
    for tensor in graph.initializer:
        if is_external(tensor):
            external_range(tensor, len(bundle.weights))
    channels, height, width = result.input_shape
    image = (channels, height, width) if result.layout == "NCHW" else (height, width, channels)
    declared = [(value.name, declared_type(value).shape) for value in (*graph.input, *graph.output)]
    computed = {name for node in graph.node for name in node.output}
    if (
        declared != [(IMAGE, (BATCH, *image)), (LOGITS, (BATCH, result.num_classes))]
        or any(tap.tensor not in computed or math.prod(tap.shape) % tap.channels for tap in taps)
        or any(tap.element not in TAPPABLE for tap in taps)
        or len({tap.name for tap in taps}) != len(taps)
    ):
        raise ModelError("loading the model gave a graph that does not fit its description", where=where)
