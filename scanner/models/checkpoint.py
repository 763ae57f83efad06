"""From a file of tensors to a plain state dict: reading, unwrapping, renaming. Runs in the child process."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from scanner.base.errors import ModelError, UnsafeModelError
from scanner.base.files import open_regular
from scanner.base.text import printable
from scanner.models.foreign import unusual_calls
from scanner.models.identify import FileKind
from scanner.models.select_state import Fits, HasShape, select_state
from scanner.models.shards import read_index, tensors_of, together
from scanner.models.stored import read_stored
from scanner.models.stored_tensors import State, read_tensors

_MAX_DEPTH = 4
_SHOWN_NAMES = 5
_PARTS = re.compile(r"[^.]+\.")
_BESIDE = ("criterion.", "loss.", "loss_fn.")
COUNTERS = ("total_ops", "total_params")
"""What a tool that counts operations leaves behind."""
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


@dataclass(frozen=True)
class Content:
    """What a file of weights holds.

    Attributes:
        value: Containers with tensors in them; of files with more than tensors, descriptions of tensors.
        notes: What the user should know.
        load: Reads the tensors of a mapping that was chosen.
    """

    value: object
    notes: tuple[str, ...]
    load: Callable[[Mapping[str, HasShape]], State]


def read_content(path: Path, kind: FileKind) -> Content:
    """Read a file of weights.

    Of a checkpoint that holds more than tensors, nothing else is made: see :mod:`scanner.models.stored`.

    Raises:
        UnsafeModelError: It would run a program when loaded with Python.
        ModelError: It is damaged.
    """
    if kind is FileKind.SAFETENSORS:
        return Content(_read_safetensors(path), (), _as_they_are)
    try:
        return Content(_read_torch(path), (), _as_they_are)
    except UnsafeModelError:
        stored = read_stored(path)
        if unusual_calls(stored) or not (stored.calls or stored.classes):
            raise
        skipped = sorted(stored.calls | stored.classes)
        shown = ", ".join(printable(name, 60) for name in skipped[:_SHOWN_NAMES])
        more = f" and {len(skipped) - _SHOWN_NAMES} more" if len(skipped) > _SHOWN_NAMES else ""
        note = f"took tensors alone and skipped objects of {shown}{more}"
        return Content(stored.content, (note,), lambda tensors: read_tensors(path, stored, tensors))


def read_shards(path: Path, kind: FileKind, folder: Path) -> Content:
    """Read weights in several files.

    Args:
        path: The index.
        kind: What the files are.
        folder: Where they are.

    Raises:
        UnsafeModelError: One would run a program when loaded with Python.
        ModelError: One is damaged, or the index disagrees with them.
    """
    with open_regular(path) as file:
        index = read_index(file)
    if index is None:
        raise ModelError("not an index of weights")
    contents = {name: read_content(folder / name, kind) for name in index.files}
    held = {name: tensors_of(content.value) for name, content in contents.items()}
    tensors = together(index, held)
    owners = {id(tensor): name for name in held for tensor in held[name].values()}

    def load(chosen: Mapping[str, HasShape]) -> State:
        state: State = {}
        for name, content in contents.items():
            state |= content.load({key: item for key, item in chosen.items() if owners[id(item)] == name})
        return state

    notes = dict.fromkeys(note for content in contents.values() for note in content.notes)
    return Content(tensors, tuple(notes), load)


def read_state(content: Content, key: str | None = None, fits: Fits = lambda _: 0.0) -> tuple[State, list[str]]:
    """Read the weights in a file, or in several.

    Args:
        content: What it holds.
        key: Where in it the weights are; None to find out.
        fits: How well names and shapes fit what is wanted.

    Returns:
        The tensors in float32 by name, and notes on what was done to get them.

    Raises:
        ModelError: The file is damaged or holds no usable weights.
        UsageError: It holds several networks, or nothing at ``key``.
    """
    choice = select_state(content.value, key, fits)
    notes = [*content.notes, *choice.notes]
    return _usable(content.load(choice.state.tensors), notes), notes


def strip_prefixes(state: State, expected: Collection[str]) -> tuple[State, list[str]]:
    """Remove wrappers' prefixes (``module.`` and the like) and old spellings, as far as the network's keys tell.

    Args:
        state: Tensors by name.
        expected: The names that the network has.
    """
    state = {key: value for key, value in state.items() if key.rpartition(".")[2] not in COUNTERS}
    prefix = max(_prefixes(state), key=lambda prefix: _found(state, prefix, expected))
    if not _found(state, prefix, expected):
        prefix = ""
    below, notes = below_prefix(state, prefix)
    if not prefix and (beside := [key for key in below if key.startswith(_BESIDE) and key not in expected]):
        below = {key: value for key, value in below.items() if key not in beside}
        notes.append(f"ignored {len(beside)} tensors such as {printable(beside[0], 80)!r}, which are no weights")
    renamed = {_OLD_DENSENET.sub(r"\1\2.", key): value for key, value in below.items()}
    if renamed.keys() != below.keys():
        notes.append("renamed weights from the old spelling of DenseNet's layers")
    return renamed, notes


def below_prefix(state: State, prefix: str) -> tuple[State, list[str]]:
    """The weights whose names start with a prefix, without it; with notes on the prefix and on what was left out."""
    below = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    notes = [f"stripped prefix {part!r} from the weights' names" for part in _PARTS.findall(prefix)]
    beside = [key for key in state if not key.startswith(prefix)]
    if beside:
        notes.append(f"ignored {len(beside)} tensors outside {prefix!r}, such as {printable(beside[0], 80)!r}")
    return below, notes


def _prefixes(state: State) -> list[str]:
    """Beginnings of names, shortest first."""
    found = {"": 0}
    for key in state:
        parts = key.split(".")
        for depth in range(1, min(_MAX_DEPTH, len(parts) - 1) + 1):
            found.setdefault(".".join(parts[:depth]) + ".", depth)
    return sorted(found, key=lambda prefix: found[prefix])


def _found(state: State, prefix: str, expected: Collection[str]) -> int:
    start = len(prefix)
    return sum(key.startswith(prefix) and key[start:] in expected for key in state)


def _as_they_are(tensors: Mapping[str, HasShape]) -> State:
    return {name: tensor for name, tensor in tensors.items() if isinstance(tensor, torch.Tensor)}


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnsafeModelError(
            f"PyTorch's restricted loader refuses it ({_refusal(error)})",
            hint="Save the weights alone with torch.save(model.state_dict(), ...) where you trust the file",
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # the readers raise RuntimeError, EOFError, KeyError, ... on damaged files
        raise ModelError(f"the checkpoint is damaged ({type(error).__name__}: {_first_line(error)})") from error


def _read_safetensors(path: Path) -> object:
    try:
        return safetensors.torch.load(path.read_bytes())
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"the safetensors file is damaged ({_first_line(error)})") from error


def _usable(state: State, notes: list[str]) -> State:
    usable: State = {}
    low_precision: set[str] = set()
    for name, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
            raise ModelError(f"tensor {name[:100]!r} is quantised, sparse, complex or empty", hint="Save it in float32")
        if tensor.is_floating_point():
            if tensor.dtype is not torch.float32:
                low_precision.add(str(tensor.dtype).removeprefix("torch."))
            if not bool(torch.isfinite(tensor).all()):
                raise ModelError(f"tensor {name[:100]!r} has values that are not finite")
        usable[name] = tensor.detach().to(torch.float32) if tensor.is_floating_point() else tensor.detach()
    if low_precision:
        notes.append(f"weights stored as {', '.join(sorted(low_precision))} were converted to float32")
    return usable


def _refusal(error: Exception) -> str:
    """What the restricted unpickler refused, out of a paragraph of advice."""
    found = re.search(r"unsupported\b.*|WeightsUnpickler error: .*", str(error), re.IGNORECASE)
    return " ".join(found.group(0).split())[:200] if found else _first_line(error)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "no message"
