"""Loading weights into a network that was built for them, without memory for weights that are replaced anyway."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from scanner.base.errors import ModelError
from scanner.models.stored_tensors import State

_SHOWN_KEYS = 3


@dataclass(frozen=True)
class Network:
    """A network with its weights, in evaluation mode.

    Attributes:
        module: Maps (N, channels, height, width) to logits.
        architecture: Its name.
        input_shape: Channels, height and width.
        notes: What was done to build it that the user should know.
    """

    module: nn.Module
    architecture: str
    input_shape: tuple[int, int, int]
    notes: tuple[str, ...]


def load_into(build: Callable[[], nn.Module], state: State, architecture: str, *, on_meta: bool = True) -> nn.Module:
    """Build, check names and shapes, and load.

    Networks are built without memory and take the tensors of ``state`` as they are. Those with tensors
    that are not part of their state dict are built again in memory.
    """
    module = without_memory(build) if on_meta else build()
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    misshaped = [
        f"{key} is {_sizes(state[key].shape)} instead of {_sizes(shape)}"
        for key, shape in shapes.items()
        if key in state and state[key].shape != shape
    ]
    if misshaped:
        raise mismatch(architecture, {"misshaped": misshaped})
    outcome = module.load_state_dict(_versioned(state, module), strict=False, assign=on_meta)
    if outcome.missing_keys or outcome.unexpected_keys:
        raise mismatch(architecture, {"missing": outcome.missing_keys, "unexpected": outcome.unexpected_keys})
    if on_meta and any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        return load_into(build, state, architecture, on_meta=False)
    return module.eval().requires_grad_(False)


def without_memory(build: Callable[[], nn.Module]) -> nn.Module:
    """Build without allocating or initialising weights, where the constructor does not compute with tensors."""
    try:
        with torch.device("meta"):
            return build()
    except (NotImplementedError, RuntimeError):  # RegNet reads its widths out of a tensor
        return build()


def _versioned(state: State, module: nn.Module) -> State:
    """A copy, because loading hooks of old layers rename keys in place, that states the network's version.

    MNASNet insists on it, and renamed or converted files have lost it. Layers are left to tell theirs
    from their keys.
    """
    copy = OrderedDict(state)
    copy._metadata = {"": {"version": module._version}}  # type: ignore[attr-defined]
    return copy


def require_keys(template: nn.Module, state: State, architecture: str) -> None:
    """Refuse weights that lack a tensor of the network, or have one of another number of axes.

    Raises:
        ModelError: They do.
    """
    missing = [key for key in template.state_dict() if key not in state and not key.endswith("num_batches_tracked")]
    ranks = [key for key, value in template.state_dict().items() if key in state and state[key].ndim != value.ndim]
    if missing or ranks:
        unexpected = [key for key in state if key not in template.state_dict()]
        raise mismatch(architecture, {"missing": missing, "unexpected": unexpected, "misshaped": ranks})


def mismatch(architecture: str, keys: Mapping[str, list[str]]) -> ModelError:
    """The error for weights that do not fit, from lists of names by what is wrong with them."""
    parts = [f"{kind} {_few(names)}" for kind, names in keys.items() if names]
    return ModelError(
        f"the weights do not fit architecture {architecture!r}: {'; '.join(parts)}",
        hint="Check --arch; a modified network needs --arch file.py:callable",
    )


def _few(names: list[str]) -> str:
    shown = ", ".join(name[:100] for name in names[:_SHOWN_KEYS])
    return shown if len(names) <= _SHOWN_KEYS else f"{shown} and {len(names) - _SHOWN_KEYS} more"


def _sizes(shape: torch.Size) -> str:
    return "x".join(str(size) for size in shape) or "a scalar"
