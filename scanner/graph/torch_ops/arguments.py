"""What every operator's function is made of: its type, its inputs, and the error of a node without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

Inputs = Sequence[torch.Tensor | None]
Attributes = Mapping[str, Any]
Operator = Callable[[Inputs, Attributes], "torch.Tensor | tuple[torch.Tensor, ...]"]
Table = Mapping[str, tuple[Operator, str]]
"""By the name of the operator: its function, and the attributes that it knows."""


class UnsupportedNodeError(Exception):
    """A node that has no PyTorch form here."""


def padding(attributes: Attributes, axes: int) -> list[tuple[int, int]]:
    """Padding before and after each spatial axis."""
    pads = list(attributes.get("pads", ())) or [0] * (2 * axes)
    return list(zip(pads[:axes], pads[axes:], strict=True))


def some(value: torch.Tensor | None) -> torch.Tensor:
    """An input that the operator cannot do without."""
    assert value is not None
    return value


def optional(inputs: Inputs, index: int) -> torch.Tensor | None:
    """An input, or None where it was omitted."""
    return inputs[index] if index < len(inputs) else None


def integers(inputs: Inputs, index: int) -> list[int] | None:
    """An input of whole numbers as a list, or None where it was omitted."""
    value = optional(inputs, index)
    return None if value is None else [int(item) for item in value.reshape(-1).tolist()]


def unary(function: Callable[[torch.Tensor], torch.Tensor]) -> Operator:
    """The operator of a function of one tensor."""
    return lambda inputs, _: function(some(inputs[0]))


def binary(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Operator:
    """The operator of a function of two tensors."""
    return lambda inputs, _: function(*together(inputs[:2]))


def together(inputs: Inputs) -> list[torch.Tensor]:
    """Inputs on one device: shapes, and what is computed from them, are on the CPU until they meet activations."""
    values = [some(value) for value in inputs]
    device = next((value.device for value in values if value.device.type != "cpu"), None)
    return values if device is None else [value.to(device) for value in values]


def padded(x: torch.Tensor, pads: Sequence[tuple[int, int]], value: float) -> torch.Tensor:
    """``x`` with so much of a value before and after each of its last axes."""
    if not any(before or after for before, after in pads):
        return x
    return F.pad(x, [size for pair in reversed(pads) for size in pair], value=value)
