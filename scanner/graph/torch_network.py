"""An ONNX graph as a PyTorch module that can be trained.

Every node becomes the PyTorch function of its operator (:mod:`scanner.graph.torch_ops`), and every
convolution or matrix product with a weight tensor a :class:`torch.nn.Conv2d` or
:class:`torch.nn.Linear` (or their like), so that whatever is written for modules works on networks
that came as ONNX files as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from scanner.graph.cut import consumed
from scanner.graph.torch_ops.arguments import UnsupportedNodeError, padding
from scanner.graph.torch_ops.table import operator
from scanner.graph.weights import Tail, WeightTensor, weight_values

_Call = Callable[[Sequence[torch.Tensor | None]], torch.Tensor | tuple[torch.Tensor, ...]]


@dataclass(frozen=True)
class _Step:
    """One node: where its inputs are, what it computes, where its outputs go, and what ends with it."""

    call: _Call
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    last_use: tuple[str, ...]


class GraphNetwork(nn.Module):
    """A tail as a module; its inputs are the tail's, in order, and its output the logits.

    Args:
        tail: The tail.

    Attributes:
        layers: One module per weight tensor, named by its number in ``tail.weights``; nodes that share the tensor
            share the module.

    Raises:
        UnsupportedNodeError: If a node has no PyTorch form, or one weight is used in different ways.
    """

    def __init__(self, tail: Tail) -> None:
        super().__init__()
        graph = tail.bundle.proto.graph
        self._inputs = tuple(item.name for item in tail.inputs)
        self._output = graph.output[0].name
        self.layers = nn.ModuleDict()
        self._constants: dict[str, str] = {}
        self._integers: dict[str, torch.Tensor] = {}
        self._weights = {weight.name: number for number, weight in enumerate(tail.weights)}
        self._parameters_of = {
            weight.name: nn.Parameter(_torch_layout(torch.tensor(value), weight))
            for weight, value in zip(tail.weights, weight_values(tail), strict=True)
        }
        self._add_constants(tail)
        self._steps = self._build(graph)
        del self._parameters_of

    def _add_constants(self, tail: Tail) -> None:
        inline = tail.bundle.to_model_proto()
        for tensor in inline.graph.initializer:
            if tensor.name not in self._weights:
                self._add_constant(tensor.name, numpy_helper.to_array(tensor))

    def _add_constant(self, name: str, value: np.ndarray[Any, Any]) -> None:
        tensor = torch.tensor(value)  # A copy: NumPy's views of a message are read-only.
        if np.issubdtype(value.dtype, np.integer):
            # No buffer: sizes, axes and indices stay on the CPU wherever the network goes, as its shapes do.
            self._integers[name] = tensor
            return
        buffer = f"constant_{len(self._constants)}"
        self._constants[name] = buffer
        self.register_buffer(buffer, tensor)

    def _build(self, graph: onnx.GraphProto) -> tuple[_Step, ...]:
        last: dict[str, int] = {name: index for index, node in enumerate(graph.node) for name in consumed(node)}
        steps = []
        for index, node in enumerate(graph.node):
            if node.domain not in ("", "ai.onnx"):
                raise UnsupportedNodeError(f"operator {node.domain}.{node.op_type}")
            attributes = {item.name: helper.get_attribute_value(item) for item in node.attribute}
            if node.op_type == "Constant":
                self._add_constant(node.output[0], _constant_value(attributes))
                continue
            ends = tuple(name for name in dict.fromkeys(node.input) if name and last[name] == index)
            inputs, call = self._call(node, attributes)
            steps.append(_Step(call, inputs, tuple(node.output), ends))
        return tuple(steps)

    def _call(self, node: onnx.NodeProto, attributes: dict[str, Any]) -> tuple[tuple[str, ...], _Call]:
        for key, value in attributes.items():
            if isinstance(value, onnx.TensorProto):
                attributes[key] = torch.tensor(numpy_helper.to_array(value))
        function = operator(node.op_type, attributes)
        weight = node.input[1] if len(node.input) > 1 else ""
        if weight not in self._weights:
            return tuple(node.input), lambda inputs: function(inputs, attributes)
        name = str(self._weights[weight])
        layer = _layer(node.op_type, self._parameters_of[weight], attributes)
        if name not in self.layers:
            self.layers[name] = layer
        elif repr(self.layers[name]) != repr(layer):  # It states all that sets two layers of one weight apart.
            raise UnsupportedNodeError("one weight in convolutions of different strides, dilations or groups")
        return (node.input[0], *node.input[2:]), self._layer_call(name, node.op_type, attributes)

    def _layer_call(self, name: str, op_type: str, attributes: Mapping[str, Any]) -> _Call:
        """Apply a layer, then what the node adds to it. Looked up at each call: the layer may be replaced."""
        if op_type == "Conv":
            axes = len(self.layers[name].kernel_size)  # type: ignore[arg-type]
            pads = [size for pair in reversed(padding(attributes, axes)) for size in pair]

            def convolve(inputs: Sequence[torch.Tensor | None]) -> torch.Tensor:
                x = inputs[0]
                assert x is not None
                y: torch.Tensor = self.layers[name](nn.functional.pad(x, pads) if any(pads) else x)
                if len(inputs) > 1 and inputs[1] is not None:
                    y = y + inputs[1].reshape(-1, *(1,) * axes)
                return y

            return convolve
        alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)

        def multiply(inputs: Sequence[torch.Tensor | None]) -> torch.Tensor:
            y: torch.Tensor = self.layers[name](inputs[0])
            y = y if alpha == 1.0 else alpha * y
            if len(inputs) > 1 and inputs[1] is not None:
                y = y + (inputs[1] if beta == 1.0 else beta * inputs[1])
            return y

        return multiply

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Map the tail's inputs, batch first, to logits ``(N, C)``."""
        values: dict[str, torch.Tensor] = dict(zip(self._inputs, inputs, strict=True))
        for step in self._steps:
            arguments = [self._value(values, name) for name in step.inputs]
            result = step.call(arguments)
            outputs = result if isinstance(result, tuple) else (result,)
            values.update(zip(step.outputs, outputs, strict=False))
            for name in step.last_use:
                if name != self._output:
                    values.pop(name, None)
        return values[self._output]

    def _value(self, values: Mapping[str, torch.Tensor], name: str) -> torch.Tensor | None:
        if not name:
            return None
        found = values.get(name)
        if found is not None:
            return found
        if name in self._integers:
            return self._integers[name]
        constant: torch.Tensor = getattr(self, self._constants[name])
        return constant


def _constant_value(attributes: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    for key, value in attributes.items():
        if key == "value":
            return numpy_helper.to_array(value)
        if key in ("value_float", "value_floats"):
            return np.asarray(value, np.float32)
        if key in ("value_int", "value_ints"):
            return np.asarray(value, np.int64)
    raise UnsupportedNodeError("a constant that is neither a tensor nor numbers")


def _torch_layout(value: torch.Tensor, weight: WeightTensor) -> torch.Tensor:
    return value.T.contiguous() if weight.transposed else value


def _layer(op_type: str, weight: nn.Parameter, attributes: Mapping[str, Any]) -> nn.Module:
    """A layer without bias; the node's bias is added outside, so that it stays as it is."""
    if op_type != "Conv":
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        linear.weight = weight
        return linear
    axes = weight.ndim - 2
    if axes not in (1, 2, 3):
        raise UnsupportedNodeError(f"convolution over {axes} axes")
    groups = attributes.get("group", 1)
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
    conv = kind(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),  # type: ignore[arg-type]
        tuple(attributes.get("strides", [1] * axes)),
        0,
        tuple(attributes.get("dilations", [1] * axes)),
        groups,
        bias=False,
        device="meta",
    )
    conv.weight = weight
    return conv
