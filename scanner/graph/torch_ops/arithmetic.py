"""Operators that compute values: arithmetic, activations, products, reductions and normalisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from scanner.graph.torch_ops.arguments import (
    Attributes,
    Inputs,
    Operator,
    Table,
    UnsupportedNodeError,
    binary,
    integers,
    optional,
    some,
    together,
    unary,
)

_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64}


def _divide(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _spread(x: torch.Tensor, parameter: torch.Tensor | None) -> torch.Tensor:
    """A per-channel parameter, shaped to broadcast against ``(N, C, ...)``."""
    return some(parameter).reshape(-1, *(1,) * (x.ndim - 2))


def _batch_normalization(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    if attributes.get("training_mode", 0):
        raise UnsupportedNodeError("operator BatchNormalization in training mode")
    x = some(inputs[0])
    scale, shift, mean, variance = (_spread(x, value) for value in inputs[1:5])
    return (x - mean) * (scale / torch.sqrt(variance + attributes.get("epsilon", 1e-5))) + shift


def _layer_normalization(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    x, scale = some(inputs[0]), some(inputs[1])
    axis = attributes.get("axis", -1) % x.ndim
    shape = x.shape[axis:]
    bias = optional(inputs, 2)
    return F.layer_norm(
        x,
        shape,
        scale.broadcast_to(shape),
        None if bias is None else bias.broadcast_to(shape),
        attributes.get("epsilon", 1e-5),
    )


def _clip(inputs: Inputs, _: Attributes) -> torch.Tensor:
    return torch.clamp(some(inputs[0]), optional(inputs, 1), optional(inputs, 2))


def _gelu(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    result: torch.Tensor = F.gelu(some(inputs[0]), approximate=attributes.get("approximate", b"none").decode())
    return result


def _gemm(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    a, b, bias = some(inputs[0]), some(inputs[1]), optional(inputs, 2)
    product = (a.T if attributes.get("transA") else a) @ (b.T if attributes.get("transB") else b)
    if bias is None:
        return float(attributes.get("alpha", 1.0)) * product
    return float(attributes.get("alpha", 1.0)) * product + float(attributes.get("beta", 1.0)) * bias


def _reduce(function: Callable[..., torch.Tensor]) -> Operator:
    def reduce(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
        x = some(inputs[0])
        axes = integers(inputs, 1) if len(inputs) > 1 else attributes.get("axes")
        if not axes:
            if attributes.get("noop_with_empty_axes", 0):
                return x
            axes = list(range(x.ndim))
        return function(x, tuple(axes), keepdim=bool(attributes.get("keepdims", 1)))

    return reduce


def _softmax(function: Callable[..., torch.Tensor]) -> Operator:
    return lambda inputs, attributes: function(some(inputs[0]), dim=attributes.get("axis", -1))


def _cast(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    if attributes["to"] not in _TYPES:
        raise UnsupportedNodeError("a cast to a small type")
    return some(inputs[0]).to(_TYPES[attributes["to"]])


def _einsum(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    return torch.einsum(attributes["equation"].decode(), *(some(value) for value in inputs))


def _hard_sigmoid(inputs: Inputs, attributes: Attributes) -> torch.Tensor:
    line: torch.Tensor = attributes.get("alpha", 0.2) * some(inputs[0]) + attributes.get("beta", 0.5)
    return line.clamp(0.0, 1.0)


ARITHMETIC: Table = {
    "Abs": (unary(torch.abs), ""),
    "Add": (binary(torch.add), ""),
    "And": (binary(torch.logical_and), ""),
    "BatchNormalization": (_batch_normalization, "epsilon momentum training_mode"),
    "Cast": (_cast, "to saturate"),
    "Clip": (_clip, ""),
    "Div": (binary(_divide), ""),
    "Dropout": (unary(lambda x: x), "seed"),
    "Einsum": (_einsum, "equation"),
    "Elu": (lambda inputs, attributes: F.elu(some(inputs[0]), attributes.get("alpha", 1.0)), "alpha"),
    "Equal": (binary(torch.eq), ""),
    "Erf": (unary(torch.erf), ""),
    "Exp": (unary(torch.exp), ""),
    "Gelu": (_gelu, "approximate"),
    "Gemm": (_gemm, "alpha beta transA transB"),
    "Greater": (binary(torch.gt), ""),
    "HardSigmoid": (_hard_sigmoid, "alpha beta"),
    "HardSwish": (unary(F.hardswish), ""),
    "Identity": (unary(lambda x: x), ""),
    "LayerNormalization": (_layer_normalization, "axis epsilon stash_type"),
    "LeakyRelu": (lambda inputs, attrs: F.leaky_relu(some(inputs[0]), attrs.get("alpha", 0.01)), "alpha"),
    "Less": (binary(torch.lt), ""),
    "Log": (unary(torch.log), ""),
    "LogSoftmax": (_softmax(torch.log_softmax), "axis"),
    "MatMul": (binary(torch.matmul), ""),
    "Mish": (unary(F.mish), ""),
    "Mul": (binary(torch.mul), ""),
    "Neg": (unary(torch.neg), ""),
    "Not": (unary(torch.logical_not), ""),
    "Pow": (binary(torch.pow), ""),
    "PRelu": (binary(lambda x, slope: torch.where(x < 0, slope * x, x)), ""),
    "Reciprocal": (unary(torch.reciprocal), ""),
    "ReduceL2": (
        _reduce(lambda x, axes, keepdim: torch.linalg.vector_norm(x, dim=axes, keepdim=keepdim)),
        "axes keepdims noop_with_empty_axes",
    ),
    "ReduceMax": (_reduce(torch.amax), "axes keepdims noop_with_empty_axes"),
    "ReduceMean": (_reduce(torch.mean), "axes keepdims noop_with_empty_axes"),
    "ReduceMin": (_reduce(torch.amin), "axes keepdims noop_with_empty_axes"),
    "ReduceSum": (_reduce(torch.sum), "axes keepdims noop_with_empty_axes"),
    "Relu": (unary(torch.relu), ""),
    "Sigmoid": (unary(torch.sigmoid), ""),
    "Sign": (unary(torch.sign), ""),
    "Softmax": (_softmax(torch.softmax), "axis"),
    "Softplus": (unary(F.softplus), ""),
    "Sqrt": (unary(torch.sqrt), ""),
    "Sub": (binary(torch.sub), ""),
    "Tanh": (unary(torch.tanh), ""),
    "Where": (lambda inputs, _: torch.where(*together(inputs)), ""),
}
