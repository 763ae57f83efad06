"""Which axis of each tensor holds the channels, followed from the operators that set it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import onnx

from scanner.graph.shapes import Dimension

Shape = tuple[Dimension, ...]
_Rule = Callable[[onnx.NodeProto, int, Shape, Shape], int | None]

_SECOND = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "ConvInteger",
        "QLinearConv",
        "FusedConv",
        "NhwcFusedConv",
        "DeformConv",
        "BatchNormalization",
        "InstanceNormalization",
        "GroupNormalization",
        "LRN",
        "MaxPool",
        "AveragePool",
        "LpPool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "GlobalLpPool",
        "DepthToSpace",
        "SpaceToDepth",
    }
)
"""Operators defined on (N, C, ...)."""

_LAST = frozenset(
    {
        "Gemm",
        "MatMul",
        "FusedMatMul",
        "FusedGemm",
        "MatMulNBits",
        "MatMulInteger",
        "Attention",
        "MultiHeadAttention",
        "LayerNormalization",
        "SkipLayerNormalization",
        "RMSNormalization",
    }
)
"""Operators on the last axis; they leave the channels where they are when those are known to be elsewhere
(a linear layer over the tokens of a transposed tensor)."""


def channel_axes(graph: onnx.GraphProto, shapes: Mapping[str, Shape]) -> dict[str, int]:
    """The channel axis of every tensor for which it can be told.

    Convolutions put it second, matrix products and layer normalisation last; the other operators carry
    it along.

    Args:
        graph: A graph with its nodes in topological order.
        shapes: Shapes of its tensors, batch included.
    """
    axes: dict[str, int] = {}
    for node in graph.node:
        source = next((name for name in node.input if name in axes), None)
        for name in node.output:
            shape = shapes.get(name)
            if shape is None:
                continue
            carried = None if source is None else _carried(node, axes[source], shapes[source], shape)
            axis = _from_operator(node, carried, shape)
            if axis is not None and 0 < axis < len(shape):
                axes[name] = axis
    return axes


def by_shape(shape: Sequence[int]) -> int | None:
    """The channel axis of an image-like (a, b, c), batch excluded: the one that differs from two equal ones."""
    if len(shape) != 3:
        return None
    if shape[1] == shape[2] != shape[0]:
        return 1
    if shape[0] == shape[1] != shape[2]:
        return 3
    return None


def _from_operator(node: onnx.NodeProto, carried: int | None, shape: Shape) -> int | None:
    if node.op_type in _SECOND:
        return 1
    if node.op_type in _LAST and carried is None:
        return len(shape) - 1
    return carried


def _carried(node: onnx.NodeProto, axis: int, before: Shape, after: Shape) -> int | None:
    return _RULES.get(node.op_type, _same_rank)(node, axis, before, after)


def _same_rank(_node: onnx.NodeProto, axis: int, before: Shape, after: Shape) -> int | None:
    if len(after) > len(before):  # broadcasting aligns the last axes
        return axis + len(after) - len(before)
    return axis if len(before) == len(after) else None


def _transposed(node: onnx.NodeProto, axis: int, before: Shape, _after: Shape) -> int | None:
    permutation = next((list(item.ints) for item in node.attribute if item.name == "perm"), None)
    if permutation is None:
        permutation = list(range(len(before)))[::-1]
    return permutation.index(axis) if axis in permutation else None


def _reshaped(_node: onnx.NodeProto, axis: int, before: Shape, after: Shape) -> int | None:
    """The axis survives where its size does, with as many elements before it (batch excluded) or after it."""
    leading, trailing = _product(before[1:axis]), _product(before[axis + 1 :])
    same_size = [candidate for candidate in range(1, len(after)) if after[candidate] == before[axis]]
    for candidate in same_size:
        if leading is not None and _product(after[1:candidate]) == leading:
            return candidate
    for candidate in same_size:
        if trailing is not None and _product(after[candidate + 1 :]) == trailing:
            return candidate
    return None


def _indexed(node: onnx.NodeProto, axis: int, before: Shape, after: Shape) -> int | None:
    """``Gather`` by a scalar drops the axis that it indexes."""
    if len(after) == len(before):
        return axis
    dropped = next((item.i for item in node.attribute if item.name == "axis"), 0) % len(before)
    if len(after) != len(before) - 1 or dropped == axis:
        return None
    return axis - (dropped < axis)


def _unknown(_node: onnx.NodeProto, _axis: int, _before: Shape, _after: Shape) -> int | None:
    return None


_RULES: Mapping[str, _Rule] = {
    "Transpose": _transposed,
    "Reshape": _reshaped,
    "Flatten": _reshaped,
    "Squeeze": _reshaped,
    "Unsqueeze": _reshaped,
    "Gather": _indexed,
    "Einsum": _unknown,
    "Shape": _unknown,
    "Size": _unknown,
}


def _product(sizes: Sequence[Dimension]) -> int | None:
    known = [size for size in sizes if isinstance(size, int)]
    return math.prod(known) if len(known) == len(sizes) else None
