"""Writing nodes and constants into a graph, with names of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


class NodeWriter:
    """Appends nodes to a graph. Every name it makes starts with its prefix.

    Args:
        graph: Changed in place.
        prefix: Put before every name, so that names of the graph and the writer's never meet.
    """

    def __init__(self, graph: onnx.GraphProto, prefix: str) -> None:
        self._graph, self._prefix = graph, prefix
        self._count = 0

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Add an initialiser, and return its full name."""
        full = f"{self._prefix}{name}"
        self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), full))
        return full

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:  # noqa: ANN401
        """Add a node with one output, and return the output's name."""
        self._count += 1
        name = f"{self._prefix}{self._count}/{operator}"
        result = name if output is None else output
        self._graph.node.append(helper.make_node(operator, list(inputs), [result], name=name, **attributes))
        return result

    def numbers(self, *values: int) -> str:
        """An int64 vector: axes, shapes, indices."""
        self._count += 1
        return self.constant(f"{self._count}/numbers", np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """A float64 number."""
        self._count += 1
        return self.constant(f"{self._count}/number", np.array(value, np.float64))

    def value(self, array: NDArray[np.generic]) -> str:
        """Any numbers, in float32."""
        self._count += 1
        return self.constant(f"{self._count}/value", np.asarray(array, np.float32))

    def floored(self, tensor: str, floor: float) -> str:
        """The tensor, no smaller than a number; what is not a number stays so, which ``Max`` does not promise."""
        lowest = self.scalar(floor)
        return self.node("Where", self.node("Less", tensor, lowest), lowest, tensor)

    def double(self, tensor: str) -> str:
        """The tensor in float64."""
        return self.node("Cast", tensor, to=TensorProto.DOUBLE)

    def sum_last(self, tensor: str) -> str:
        """Sum over the last axis, which stays with length 1."""
        return self.node("ReduceSum", tensor, self.numbers(-1), keepdims=1)

    def squares(self, tensor: str) -> str:
        """Sum of squares over the last axis, which stays with length 1."""
        return self.sum_last(self.node("Mul", tensor, tensor))

    def unsqueeze(self, tensor: str, axis: int) -> str:
        """The tensor with one more axis."""
        return self.node("Unsqueeze", tensor, self.numbers(axis))
