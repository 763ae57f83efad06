"""From a file of weights to a network: which mapping, which network, built and loaded. Runs in the child process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from scanner.base.errors import UsageError
from scanner.base.text import printable
from scanner.models.architectures.hugging_face import build_hugging_face, installed
from scanner.models.architectures.keras_network import build_keras
from scanner.models.architectures.loading import Network
from scanner.models.architectures.plans import Wanted
from scanner.models.architectures.registry import build_network, buildable, expected_names
from scanner.models.checkpoint import COUNTERS, below_prefix, read_content, read_shards, read_state
from scanner.models.identify import FileKind
from scanner.models.job import EXTERNAL_FOLDER, ConfigMessage, Job
from scanner.models.networks import grade, infer_network
from scanner.models.select_state import Fits
from scanner.models.stored_tensors import State

_MAX_RIVALS = 4
_MAX_PARTS = 8


@dataclass(frozen=True)
class OpenedWeights:
    """A network with its weights.

    Attributes:
        network: The network; its notes begin with those of reading the file.
        rivals: Other architectures that the weights fit equally well.
    """

    network: Network
    rivals: tuple[str, ...] = ()


def open_weights(path: Path, job: Job) -> OpenedWeights:
    """Read the weights, tell the network where the user did not name it, and load them into it.

    Raises:
        UnsafeModelError: The file would run a program when loaded with Python.
        ModelError: The file is damaged, or the weights do not fit.
        UsageError: Options that contradict the weights, or are needed.
    """
    if job.kind is FileKind.KERAS:
        return OpenedWeights(build_keras(path, Wanted(job.input_size, job.num_classes)))
    content = read_shards(path, job.kind, Path(EXTERNAL_FOLDER)) if job.sharded else read_content(path, job.kind)
    state, notes = read_state(content, job.key, _fits(job))
    named = _named_beside(job)
    if named is not None and named.framework == "transformers":
        network = build_hugging_face(named.architecture, named.text, state, Wanted(job.input_size, job.num_classes))
        return OpenedWeights(replace(network, notes=(*notes, *network.notes)))
    architecture = job.architecture
    rivals: tuple[str, ...] = ()
    if named is not None:
        architecture = named.architecture
        notes.append(f"architecture {printable(architecture, 120)!r} from config.json")
    elif architecture is None:
        architecture, rivals, state = _inferred(state, notes, job)
    size = job.input_size or (None if named is None else named.input_size)
    network = build_network(
        architecture, state, trust_code=job.trust_code, input_size=size, num_classes=job.num_classes
    )
    return OpenedWeights(replace(network, notes=(*notes, *network.notes)), rivals)


def _named_beside(job: Job) -> ConfigMessage | None:
    """What ``config.json`` says, where the user says nothing and the library that it means is installed."""
    if job.architecture is not None or job.config is None:
        return None
    if job.config.framework == "timm":
        return job.config if buildable(job.config.architecture) else None
    return job.config if installed() else None


def _inferred(state: State, notes: list[str], job: Job) -> tuple[str, tuple[str, ...], State]:
    """The network of the weights, others that fit as well, and the weights without what stands before their names."""
    try:
        inferred = infer_network({name: tuple(tensor.shape) for name, tensor in state.items()})
    except UsageError as error:
        if job.config is None:
            raise
        extra = "hf" if job.config.framework == "transformers" else "timm"
        raise UsageError(
            f"config.json names the network {printable(job.config.architecture, 60)!r} of {job.config.framework}, "
            "which is not installed",
            where="--arch",
            hint=f"Install it with pip install 'latentscan[{extra}]'",
        ) from error
    state, stripped = _below(state, inferred.prefix)
    names = tuple(name for name in inferred.names if buildable(name)) or inferred.names
    notes += [inferred.note, *stripped]
    return names[0], names[1 : _MAX_RIVALS + 1], state


def _below(state: State, prefix: str) -> tuple[State, list[str]]:
    kept = {name: tensor for name, tensor in state.items() if name.rpartition(".")[2] not in COUNTERS}
    return below_prefix(kept, prefix)


def _fits(job: Job) -> Fits:
    if job.architecture is None:
        return grade
    expected = expected_names(job.architecture)

    def share(shapes: Mapping[str, tuple[int, ...]]) -> float:
        """Whether most of the network's names end a name of the file, whatever is before them."""
        found = {ending for name in shapes for ending in _endings(name) if ending in expected}
        return float(2 * len(found) > len(expected)) if expected else 0.0

    return share


def _endings(name: str) -> list[str]:
    """The name, and what is left of it without its first parts."""
    parts = name.split(".", _MAX_PARTS)
    return [".".join(parts[start:]) for start in range(len(parts))]
