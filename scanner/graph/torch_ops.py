"""ONNX operators as PyTorch functions: those that image classifiers are made of, at opset 20.

A closed table. Each function takes the node's input tensors (None for an omitted one) and its
attributes, and returns its output, or a tuple of outputs. Attributes that change what is computed and
are not known here make the node unsupported rather than silently different.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F

Inputs = Sequence[torch.Tensor | None]
Attributes = Mapping[str, Any]
Operator = Callable[[Inputs, Attributes], "torch.Tensor | tuple[torch.Tensor, ...]"]


class UnsupportedNodeError(Exception):
    """A node that has no PyTorch form here."""


def operator(op_type: str, attributes: Attributes) -> Operator:
    """The function of an operator.

    Raises:
        UnsupportedNodeError: If the operator, or one of its attributes, is not known.
    """
    entry = _OPERATORS.get(op_type)
    if entry is None:
        raise UnsupportedNodeError(f"operator {op_type}")
    function, known = entry
    if unknown := attributes.keys() - set(known.split()):
        raise UnsupportedNodeError(f"attribute {min(unknown)} of operator {op_type}")
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise UnsupportedNodeError(f"automatic padding of operator {op_type}")
    return function


def padding(attributes: Attributes, axes: int) -> list[tuple[int, int]]:
    """Padding before and after each spatial axis."""
    pads = list(attributes.get("pads", ())) or [0] * (2 * axes)
    return list(zip(pads[:axes], pads[axes:], strict=True))


def _some(value: torch.Tensor | None) -> torch.Tensor:
    assert value is not None
    return value


def _optional(inputs: Inputs, index: int) -> torch.Tensor | None:
    return inputs[index] if index < len(inputs) else None


def _integers(inputs: Inputs, index: int) -> list[int] | None:
    value = _optional(inputs, index)
    return None if value is None else [int(item) for item in value.reshape(-1).tolist()]


def _unary(function: Callable[[torch.Tensor], torch.Tensor]) -> Operator:
    return lambda inputs, _: function(_some(inputs[0]))


def _binary(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Operator:
    return lambda inputs, _: function(*_together(inputs[:2]))


def _together(inputs: Inputs) -> list[torch.Tensor]:
    """Inputs on one device: shapes, and what is computed from them, are on the CPU until they meet activations."""
    values = [_some(value) for value in inputs]
    device = next((value.device for value in values if value.device.type != "cpu"), None)
    return values if device is None else [value.to(device) for value in values]


def _divide(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _spread(x: torch.Tensor, parameter: torch.Tensor | None) -> torch.Tensor:
    """A per-channel parameter, shaped to broadcast against ``(N, C, ...)``."""
    return _some(parameter).reshape(-1, *(1,) * (x.ndim - 2))


def _batch_normalization(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    if attributes.get("training_mode", 0):
        raise UnsupportedNodeError("operator BatchNormalization in training mode")
    x = _some(inputs[0])
    scale, shift, mean, variance = (_spread(x, value) for value in inputs[1:5])
    return (x - mean) * (scale / torch.sqrt(variance + attributes.get("epsilon", 1e-5))) + shift


def _layer_normalization(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, scale = _some(inputs[0]), _some(inputs[1])
    axis = attributes.get("axis", -1) % x.ndim
    shape = x.shape[axis:]
    bias = _optional(inputs, 2)
    return F.layer_norm(
        x,
        shape,
        scale.broadcast_to(shape),
        None if bias is None else bias.broadcast_to(shape),
        attributes.get("epsilon", 1e-5),
    )


def _clip(inputs: Inputs, _: Attributes) -> torch.Tensor:
    return torch.clamp(_some(inputs[0]), _optional(inputs, 1), _optional(inputs, 2))


def _gelu(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    result: torch.Tensor = F.gelu(_some(inputs[0]), approximate=attributes.get("approximate", b"none").decode())
    return result


def _gemm(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    a, b, bias = _some(inputs[0]), _some(inputs[1]), _optional(inputs, 2)
    product = (a.T if attributes.get("transA") else a) @ (b.T if attributes.get("transB") else b)
    if bias is None:
        return float(attributes.get("alpha", 1.0)) * product
    return float(attributes.get("alpha", 1.0)) * product + float(attributes.get("beta", 1.0)) * bias


def _convolution(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, weight = _some(inputs[0]), _some(inputs[1])
    axes = weight.ndim - 2
    if axes not in (1, 2, 3):
        raise UnsupportedNodeError(f"convolution over {axes} axes")
    x = _padded(x, padding(attributes, axes), 0.0)
    function = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    return function(
        x,
        weight,
        _optional(inputs, 2),
        attributes.get("strides", [1] * axes),
        0,
        attributes.get("dilations", [1] * axes),
        attributes.get("group", 1),
    )


def _padded(x: torch.Tensor, pads: Sequence[tuple[int, int]], value: float) -> torch.Tensor:
    if not any(before or after for before, after in pads):
        return x
    return F.pad(x, [size for pair in reversed(pads) for size in pair], value=value)


def _pool_arguments(attributes: Attributes) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    kernel = list(attributes["kernel_shape"])
    strides = list(attributes.get("strides", [1] * len(kernel)))
    if len(kernel) not in (1, 2, 3) or attributes.get("storage_order", 0):
        raise UnsupportedNodeError(f"pooling over {len(kernel)} axes")
    return kernel, strides, padding(attributes, len(kernel))


def _ceiling(x: torch.Tensor, kernel: Sequence[int], strides: Sequence[int], attributes: Attributes) -> torch.Tensor:
    """Pad by what makes a last window that starts within the (padded) input whole."""
    if not attributes.get("ceil_mode", 0):
        return x
    dilations = attributes.get("dilations", [1] * len(kernel))
    extra = []
    for size, reach, step, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
        rest = (size - (dilation * (reach - 1) + 1)) % step
        extra.append((0, step - rest if rest else 0))
    return _padded(x, extra, float("-inf"))


def _max_pool(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    kernel, strides, pads = _pool_arguments(attributes)
    x = _ceiling(_padded(_some(inputs[0]), pads, float("-inf")), kernel, strides, attributes)
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    return function(x, kernel, strides, 0, attributes.get("dilations", [1] * len(kernel)))


def _average_pool(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    kernel, strides, pads = _pool_arguments(attributes)
    if attributes.get("ceil_mode", 0) or any(size != 1 for size in attributes.get("dilations", ())):
        raise UnsupportedNodeError("average pooling with ceil_mode or dilation")
    x = _some(inputs[0])
    function = cast(Callable[..., torch.Tensor], (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1])
    total = function(_padded(x, pads, 0.0), kernel, strides)
    if attributes.get("count_include_pad", 0) or not any(before or after for before, after in pads):
        return total
    share = function(_padded(torch.ones_like(x[:1, :1]), pads, 0.0), kernel, strides)
    return total / share


def _global_average_pool(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x = _some(inputs[0])
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


def _global_max_pool(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x = _some(inputs[0])
    return x.amax(tuple(range(2, x.ndim)), keepdim=True)


def _reduce(function: Callable[..., torch.Tensor]) -> Operator:
    def reduce(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
        x = _some(inputs[0])
        axes = _integers(inputs, 1) if len(inputs) > 1 else attributes.get("axes")
        if not axes:
            if attributes.get("noop_with_empty_axes", 0):
                return x
            axes = list(range(x.ndim))
        return function(x, tuple(axes), keepdim=bool(attributes.get("keepdims", 1)))

    return reduce


def _softmax(function: Callable[..., torch.Tensor]) -> Operator:
    return lambda inputs, attributes: function(_some(inputs[0]), dim=attributes.get("axis", -1))


def _reshape(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, sizes = _some(inputs[0]), _integers(inputs, 1) or []
    if not attributes.get("allowzero", 0):
        sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, axis = _some(inputs[0]), attributes.get("axis", 1)
    leading = 1
    for size in x.shape[: axis % (x.ndim + 1) if axis < 0 else axis]:
        leading *= size
    return x.reshape(leading, -1)


def _transpose(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x = _some(inputs[0])
    return x.permute(list(attributes.get("perm", range(x.ndim)[::-1])))


def _concat(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    return torch.cat(_together(inputs), dim=attributes["axis"])


def _split(inputs: Inputs, attributes: Attributes) -> tuple[torch.Tensor, ...]:
    x, axis = _some(inputs[0]), attributes.get("axis", 0)
    sizes = _integers(inputs, 1)
    if sizes is None:
        count = attributes["num_outputs"]
        sizes = [-(-x.shape[axis] // count)] * (count - 1)
        sizes.append(x.shape[axis] - sum(sizes))
    return torch.split(x, sizes, dim=axis)


def _slice(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x = _some(inputs[0])
    starts, ends = _integers(inputs, 1) or [], _integers(inputs, 2) or []
    axes = _integers(inputs, 3) or list(range(len(starts)))
    steps = _integers(inputs, 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Python's slices clamp as ONNX does; PyTorch has no negative steps.
        positions = range(x.shape[axis])[start : end if step > 0 or end >= -x.shape[axis] else None : step]
        x = x.index_select(axis, torch.tensor(list(positions), dtype=torch.int64, device=x.device))
    return x


def _gather(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, index = _some(inputs[0]), _some(inputs[1])
    axis = attributes.get("axis", 0) % x.ndim
    index = torch.where(index < 0, index + x.shape[axis], index).to(x.device)
    return x.index_select(axis, index.reshape(-1)).reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _unsqueeze(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x, axes = _some(inputs[0]), _integers(inputs, 1) or []
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _squeeze(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x, axes = _some(inputs[0]), _integers(inputs, 1)
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


def _expand(inputs: Inputs, _: Attributes) -> torch.Tensor:
    x, sizes = _some(inputs[0]), _integers(inputs, 1) or []
    shape: torch.Size = torch.broadcast_shapes(x.shape, tuple(sizes))  # type: ignore[no-untyped-call]
    return x.expand(shape)


def _shape(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    sizes = list(_some(inputs[0]).shape)
    return torch.tensor(sizes[attributes.get("start", 0) : attributes.get("end", len(sizes))], dtype=torch.int64)


def _constant_of_shape(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    value: torch.Tensor = attributes.get("value", torch.zeros(1))
    return value.reshape(()).expand(_integers(inputs, 0) or []).clone()


def _range(inputs: Inputs, _: Attributes) -> torch.Tensor:
    start, limit, delta = (_some(value).item() for value in inputs[:3])
    return torch.arange(start, limit, delta, dtype=_some(inputs[0]).dtype)


_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}


def _cast(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    if attributes["to"] not in _TYPES:
        raise UnsupportedNodeError("a cast to a small type")
    return _some(inputs[0]).to(_TYPES[attributes["to"]])


def _pad(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, pads = _some(inputs[0]), _integers(inputs, 1) or []
    mode = attributes.get("mode", b"constant").decode()
    if mode not in ("constant", "reflect", "edge", "wrap") or min(pads, default=0) < 0:
        raise UnsupportedNodeError(f"padding of mode {mode}, or by less than nothing")
    axes = _integers(inputs, 3) or list(range(x.ndim))
    pairs = [(0, 0)] * x.ndim
    for position, axis in enumerate(axes):
        pairs[axis] = (pads[position], pads[position + len(axes)])
    if mode != "constant":
        return _repeated(x, pairs, cast(Literal["reflect", "edge", "wrap"], mode))
    value = _optional(inputs, 2)
    return _padded(x, pairs, 0.0 if value is None else float(value))


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
    x, index, updates = (_some(value) for value in inputs[:3])
    result = x.clone()
    result[tuple(index.to(x.device).unbind(-1))] = updates.to(x)
    return result


def _einsum(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    return torch.einsum(attributes["equation"].decode(), *(_some(value) for value in inputs))


def _hard_sigmoid(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    line: torch.Tensor = attributes.get("alpha", 0.2) * _some(inputs[0]) + attributes.get("beta", 0.5)
    return line.clamp(0.0, 1.0)


_SPATIAL = "kernel_shape strides pads dilations auto_pad"

_OPERATORS: Mapping[str, tuple[Operator, str]] = {
    "Abs": (_unary(torch.abs), ""),
    "Add": (_binary(torch.add), ""),
    "And": (_binary(torch.logical_and), ""),
    "AveragePool": (_average_pool, f"{_SPATIAL} ceil_mode count_include_pad"),
    "BatchNormalization": (_batch_normalization, "epsilon momentum training_mode"),
    "Cast": (_cast, "to saturate"),
    "Clip": (_clip, ""),
    "Concat": (_concat, "axis"),
    "ConstantOfShape": (_constant_of_shape, "value"),
    "Conv": (_convolution, f"{_SPATIAL} group"),
    "Div": (_binary(_divide), ""),
    "Dropout": (_unary(lambda x: x), "seed"),
    "Einsum": (_einsum, "equation"),
    "Elu": (lambda inputs, attributes: F.elu(_some(inputs[0]), attributes.get("alpha", 1.0)), "alpha"),
    "Equal": (_binary(torch.eq), ""),
    "Erf": (_unary(torch.erf), ""),
    "Exp": (_unary(torch.exp), ""),
    "Expand": (_expand, ""),
    "Flatten": (_flatten, "axis"),
    "Gather": (_gather, "axis"),
    "Gelu": (_gelu, "approximate"),
    "Gemm": (_gemm, "alpha beta transA transB"),
    "GlobalAveragePool": (_global_average_pool, ""),
    "GlobalMaxPool": (_global_max_pool, ""),
    "Greater": (_binary(torch.gt), ""),
    "HardSigmoid": (_hard_sigmoid, "alpha beta"),
    "HardSwish": (_unary(F.hardswish), ""),
    "Identity": (_unary(lambda x: x), ""),
    "LayerNormalization": (_layer_normalization, "axis epsilon stash_type"),
    "LeakyRelu": (lambda inputs, attrs: F.leaky_relu(_some(inputs[0]), attrs.get("alpha", 0.01)), "alpha"),
    "Less": (_binary(torch.lt), ""),
    "Log": (_unary(torch.log), ""),
    "LogSoftmax": (_softmax(torch.log_softmax), "axis"),
    "MatMul": (_binary(torch.matmul), ""),
    "MaxPool": (_max_pool, f"{_SPATIAL} ceil_mode storage_order"),
    "Mish": (_unary(F.mish), ""),
    "Mul": (_binary(torch.mul), ""),
    "Neg": (_unary(torch.neg), ""),
    "Not": (_unary(torch.logical_not), ""),
    "Pad": (_pad, "mode"),
    "Pow": (_binary(torch.pow), ""),
    "PRelu": (_binary(lambda x, slope: torch.where(x < 0, slope * x, x)), ""),
    "Range": (_range, ""),
    "Reciprocal": (_unary(torch.reciprocal), ""),
    "ReduceL2": (
        _reduce(lambda x, axes, keepdim: torch.linalg.vector_norm(x, dim=axes, keepdim=keepdim)),
        "axes keepdims noop_with_empty_axes",
    ),
    "ReduceMax": (_reduce(torch.amax), "axes keepdims noop_with_empty_axes"),
    "ReduceMean": (_reduce(torch.mean), "axes keepdims noop_with_empty_axes"),
    "ReduceMin": (_reduce(torch.amin), "axes keepdims noop_with_empty_axes"),
    "ReduceSum": (_reduce(torch.sum), "axes keepdims noop_with_empty_axes"),
    "Relu": (_unary(torch.relu), ""),
    "Reshape": (_reshape, "allowzero"),
    "ScatterND": (_scatter_nd, "reduction"),
    "Shape": (_shape, "start end"),
    "Sigmoid": (_unary(torch.sigmoid), ""),
    "Sign": (_unary(torch.sign), ""),
    "Slice": (_slice, ""),
    "Softmax": (_softmax(torch.softmax), "axis"),
    "Softplus": (_unary(F.softplus), ""),
    "Split": (_split, "axis num_outputs"),
    "Sqrt": (_unary(torch.sqrt), ""),
    "Squeeze": (_squeeze, ""),
    "Sub": (_binary(torch.sub), ""),
    "Tanh": (_unary(torch.tanh), ""),
    "Transpose": (_transpose, "perm"),
    "Unsqueeze": (_unsqueeze, ""),
    "Where": (lambda inputs, _: torch.where(*_together(inputs)), ""),
}
