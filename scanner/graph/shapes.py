"""Shapes of a graph's tensors: as declared, as inferred, and as measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from scanner.errors import ModelError
from scanner.graph.bundle import GraphBundle
from scanner.graph.session import GraphSession

Dimension = int | str | None
"""A size, the name of a size that varies (the batch), or unknown."""

BATCH = "batch"

_MEASURED_ROWS = 3
_MEASURED_AT_ONCE = 64


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


def measure_types(bundle: GraphBundle, image: NDArray[np.float32], names: Sequence[str]) -> GraphBundle:
    """Declare the types of ``names`` as ONNX Runtime computes them.

    Shape inference gives up on computed shapes (a ``Reshape`` to a shape made of slices); a run does
    not. A first dimension that equals the number of images is taken for the batch.

    Args:
        bundle: Graph with one image input of dynamic batch.
        image: One input image, with a leading dimension of 1.
        names: Tensors of the main graph.

    Raises:
        ModelError: ONNX Runtime cannot run the graph.
    """
    proto = bundle.copy_proto()
    known = {value.name: value for value in (*proto.graph.value_info, *proto.graph.output)}
    images = np.repeat(image, _MEASURED_ROWS, axis=0)
    for start in range(0, len(names), _MEASURED_AT_ONCE):
        for name, value in run_tensors(bundle, images, names[start : start + _MEASURED_AT_ONCE]).items():
            shape: list[Dimension] = list(value.shape)
            if shape and shape[0] == _MEASURED_ROWS:
                shape[0] = BATCH
            element = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            measured = onnx.helper.make_tensor_value_info(name, element, shape)
            if name in known:
                known[name].CopyFrom(measured)
            else:
                proto.graph.value_info.append(measured)
    return GraphBundle(proto, bundle.weights)


def run_tensors(
    bundle: GraphBundle, images: NDArray[np.float32], names: Iterable[str], *, threads: int = 1
) -> dict[str, NDArray[Any]]:
    """Values of intermediate tensors (or outputs) of the graph for a batch of images.

    Raises:
        ModelError: ONNX Runtime cannot run the graph.
    """
    proto = bundle.copy_proto()
    wanted = list(names)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    graph, weights = GraphBundle(proto, bundle.weights).serialise()
    session = GraphSession(graph, weights, device="cpu", threads=threads, error=ModelError)
    return session.run({proto.graph.input[0].name: images}, wanted)


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
