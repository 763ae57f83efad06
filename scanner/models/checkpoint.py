"""From a file of tensors to a plain state dict: reading, unwrapping, renaming. Runs in the child process."""

from __future__ import annotations

import pickle
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from scanner.base.errors import ModelError, UnsafeModelError
from scanner.models.identify import FileKind

State = dict[str, torch.Tensor]

_WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "params", "weights"),
    *("ema", "model_ema", "state_dict_ema", "ema_state_dict"),
)
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.", "backbone.", "encoder.", "state_dict.")
_MAX_DEPTH = 4
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")


def read_state(path: Path, kind: FileKind) -> tuple[State, list[str]]:
    """Read the weights of a checkpoint.

    Returns:
        The tensors in float32 by name, and notes on what was done to get them.

    Raises:
        UnsafeModelError: Reading them would need more than PyTorch's restricted unpickler allows.
        ModelError: The file is damaged or holds no usable weights.
    """
    content = _read_safetensors(path) if kind is FileKind.SAFETENSORS else _read_torch(path)
    state, notes = _unwrap(content)
    return _usable(state, notes), notes


def strip_prefixes(state: State, expected: Collection[str]) -> tuple[State, list[str]]:
    """Remove wrappers' prefixes (``module.`` and the like) and old spellings, as far as the network's keys tell.

    Args:
        state: Tensors by name.
        expected: The names that the network has.
    """
    notes = []
    while not any(key in expected for key in state):
        prefix = next((prefix for prefix in _PREFIXES if all(key.startswith(prefix) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
        notes.append(f"stripped prefix {prefix!r} from the weights' names")
    renamed = {_OLD_DENSENET.sub(r"\1\2.", key): value for key, value in state.items()}
    if renamed.keys() != state.keys():
        notes.append("renamed weights from the old spelling of DenseNet's layers")
    return renamed, notes


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


def _unwrap(content: object) -> tuple[State, list[str]]:
    notes: list[str] = []
    for _ in range(_MAX_DEPTH):
        if not isinstance(content, Mapping):
            break
        wrapper = _wrapper(content)
        if wrapper is None:
            state = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
            if state and all(isinstance(key, str) for key in state):
                return state, notes
            break
        notes.append(f"unwrapped key {wrapper!r} of the checkpoint")
        content = content[wrapper]
    raise ModelError(
        "the checkpoint holds no state dict",
        hint="A mapping from names to tensors is needed, as torch.save(model.state_dict(), ...) writes",
    )


def _wrapper(content: Mapping[object, object]) -> str | None:
    """The key below which the weights are, or None when they are here."""
    nested = [key for key, value in content.items() if isinstance(key, str) and _holds_tensors(value)]
    if any(isinstance(value, torch.Tensor) and value.ndim > 1 for value in content.values()):
        return None  # weights beside, say, an optimiser's state
    for key in _WRAPPERS:
        if key in nested:
            return key
    return nested[0] if len(nested) == 1 else None


def _holds_tensors(value: object, depth: int = 0) -> bool:
    if not isinstance(value, Mapping) or depth > _MAX_DEPTH:
        return False
    return any(isinstance(item, torch.Tensor) or _holds_tensors(item, depth + 1) for item in value.values())


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
