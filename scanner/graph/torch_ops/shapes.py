"""Operators that move values and compute shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import torch

from scanner.graph.torch_ops.arguments import (
    Attributes,
    Inputs,
    Table,
    UnsupportedNodeError,
    integers,
    optional,
    padded,
    some,
    together,
)


def _reshape(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, sizes = some(inputs[0]), integers(inputs, 1) or []
    if not attributes.get("allowzero", 0):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, axis = some(inputs[0]), attributes.get("axis", 1)
    leading = 1
    for size in x.shape[: axis % (x.ndim + 1) if axis < 0 else axis]:
        leading *= size
    return x.reshape(leading, -1)


def _transpose(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x = some(inputs[0])
    return x.permute(list(attributes.get("perm", range(x.ndim)[::-1])))


def _concat(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    return torch.cat(together(inputs), dim=attributes["axis"])


def _split(inputs: Inputs, attributes: Attributes) -> tuple[torch.Tensor, ...]:
    x, axis = some(inputs[0]), attributes.get("axis", 0)
    sizes = integers(inputs, 1)
    if sizes is None:
        count = attributes["num_outputs"]
        sizes = [-(-x.shape[axis] // count)] * (count - 1)
        sizes.append(x.shape[axis] - sum(sizes))
    return torch.split(x, sizes, dim=axis)


def _slice(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x = some(inputs[0])
    starts, ends = integers(inputs, 1) or [], integers(inputs, 2) or []
    axes = integers(inputs, 3) or list(range(len(starts)))
    steps = integers(inputs, 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Python's slices clamp as ONNX does; PyTorch has no negative steps.
        positions = range(x.shape[axis])[start : end if step > 0 or end >= -x.shape[axis] else None : step]
        x = x.index_select(axis, torch.tensor(list(positions), dtype=torch.int64, device=x.device))
    return x


def _gather(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, index = some(inputs[0]), some(inputs[1])
    axis = attributes.get("axis", 0) % x.ndim
    index = torch.where(index < 0, index + x.shape[axis], index).to(x.device)
    return x.index_select(axis, index.reshape(-1)).reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _unsqueeze(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x, axes = some(inputs[0]), integers(inputs, 1) or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _squeeze(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x, axes = some(inputs[0]), integers(inputs, 1)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _expand(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x, sizes = some(inputs[0]), integers(inputs, 1) or []
    shape: torch.Size = torch.broadcast_shapes(x.shape, tuple(sizes))  # type: ignore[no-untyped-call]
    return x.expand(shape)


def _shape(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    sizes = list(some(inputs[0]).shape)
    return torch.tensor(sizes[attributes.get("start", 0) : attributes.get("end", len(sizes))], dtype=torch.int64)


def _constant_of_shape(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    value: torch.Tensor = attributes.get("value", torch.zeros(1))
    return value.reshape(()).expand(integers(inputs, 0) or []).clone()


def _range(inputs: Inputs, _: Attributes) -> torch.Tensor:
    start, limit, delta = (some(value).item() for value in inputs[:3])
    return torch.arange(start, limit, delta, dtype=some(inputs[0]).dtype)


def _pad(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, pads = some(inputs[0]), integers(inputs, 1) or []
    mode = attributes.get("mode", b"constant").decode()
    if mode not in ("constant", "reflect", "edge", "wrap") or min(pads, default=0) < 0:
        raise UnsupportedNodeError(f"padding of mode {mode}, or by less than nothing")
    axes = integers(inputs, 3) or list(range(x.ndim))
    pairs = [(0, 0)] * x.ndim
    for position, axis in enumerate(axes):
        pairs[axis] = (pads[position], pads[position + len(axes)])
    if mode != "constant":
        return _repeated(x, pairs, cast(Literal["reflect", "edge", "wrap"], mode))
    value = optional(inputs, 2)
    return padded(x, pairs, 0.0 if value is None else float(value))


def _repeated(
    x: torch.Tensor, pairs: Sequence[tuple[int, int]], mode: Literal["reflect", "edge", "wrap"]
) -> torch.Tensor:
    """Pad by the tensor's own values."""
    for axis, pair in enumerate(pairs):
        if any(pair):
            positions = np.pad(np.arange(x.shape[axis]), pair, mode)
            x = x.index_select(axis, torch.from_numpy(positions).to(x.device))
    return x


def _scatter_nd(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    if attributes.get("reduction", b"none") != b"none":
        raise UnsupportedNodeError("operator ScatterND with a reduction")
    x, index, updates = (some(value) for value in inputs[:3])
    result = x.clone()
    result[tuple(index.to(x.device).unbind(-1))] = updates.to(x)
    return result


SHAPES: Table = {
    "Concat": (_concat, "axis"),
    "ConstantOfShape": (_constant_of_shape, "value"),
    "Expand": (_expand, ""),
    "Flatten": (_flatten, "axis"),
    "Gather": (_gather, "axis"),
    "Pad": (_pad, "mode"),
    "Range": (_range, ""),
    "Reshape": (_reshape, "allowzero"),
    "ScatterND": (_scatter_nd, "reduction"),
    "Shape": (_shape, "start end"),
    "Slice": (_slice, ""),
    "Split": (_split, "axis num_outputs"),
    "Squeeze": (_squeeze, ""),
    "Transpose": (_transpose, "perm"),
    "Unsqueeze": (_unsqueeze, ""),
}
