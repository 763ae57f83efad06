"""Shapes of a graph's tensors: as declared and as inferred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from scanner.base.errors import ModelError

Dimension = int | str | None
"""A size, the name of a size that varies (the batch), or unknown."""

BATCH = "batch"


@dataclass(frozen=True)
class TensorType:
    """Element type (an ``onnx.TensorProto`` constant) and shape, batch included; None is an unknown rank."""

    element: int
    shape: tuple[Dimension, ...] | None


def tensor_types(model: onnx.ModelProto) -> dict[str, TensorType]:
    """Types of all tensors of the main graph, inferred where the model does not declare them.

    Raises:
        ModelError: The declared types contradict the operators.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError(f"its tensor shapes contradict each other ({_first_line(error)})") from error
    types = {tensor.name: TensorType(tensor.data_type, tuple(tensor.dims)) for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        types[value.name] = declared_type(value)
    return types


def declared_type(value: onnx.ValueInfoProto) -> TensorType:
    """The type that the model declares for a tensor."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return TensorType(tensor.elem_type, None)
    return TensorType(tensor.elem_type, tuple(_dimension(dim) for dim in tensor.shape.dim))


def fully_known(kind: TensorType | None, batch: Dimension) -> bool:
    """Whether the shape is known, with ``batch`` first and sizes after it."""
    if kind is None or kind.shape is None or not kind.shape:
        return False
    return kind.shape[0] == batch and all(isinstance(size, int) and size > 0 for size in kind.shape[1:])


def static_shapes(types: Mapping[str, TensorType]) -> dict[str, tuple[Dimension, ...]]:
    """The shapes of those tensors whose rank is known."""
    return {name: kind.shape for name, kind in types.items() if kind.shape is not None}


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> Dimension:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return dim.dim_param or None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
