"""Running a graph to see its intermediate tensors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray

from scanner.errors import ModelError
from scanner.graph.bundle import GraphBundle
from scanner.graph.session import GraphSession
from scanner.graph.shapes import BATCH, Dimension
from scanner.graph.taps import unmeasured_tensors

_ROWS = 3
_AT_ONCE = 64


def open_tensors(bundle: GraphBundle, names: Iterable[str], *, threads: int = 1) -> GraphSession:
    """A session on the CPU whose outputs are the named tensors of the main graph.

    Raises:
        ModelError: ONNX Runtime cannot load the graph.
    """
    proto = bundle.copy_proto()
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    graph, weights = GraphBundle(proto, bundle.weights).serialise()
    return GraphSession(graph, weights, device="cpu", threads=threads, error=ModelError)


def measure_shapes(bundle: GraphBundle, image: NDArray[np.float32]) -> GraphBundle:
    """Declare the types of those cut tensors that cannot be inferred, as ONNX Runtime computes them.

    Shape inference gives up on computed shapes (a ``Reshape`` to a shape made of slices); a run does
    not. A first dimension that equals the number of images is taken for the batch.

    Args:
        bundle: Graph with one image input of dynamic batch.
        image: One input image, with a leading dimension of 1.

    Raises:
        ModelError: ONNX Runtime cannot run the graph.
    """
    names = unmeasured_tensors(bundle.proto)
    proto = bundle.copy_proto()
    known = {value.name: value for value in (*proto.graph.value_info, *proto.graph.output)}
    images = np.repeat(image, _ROWS, axis=0)
    for start in range(0, len(names), _AT_ONCE):
        session = open_tensors(bundle, names[start : start + _AT_ONCE])
        for name, value in session.run({session.input_names[0]: images}).items():
            shape: list[Dimension] = list(value.shape)
            if shape and shape[0] == _ROWS:
                shape[0] = BATCH
            element = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            measured = onnx.helper.make_tensor_value_info(name, element, shape)
            if name in known:
                known[name].CopyFrom(measured)
            else:
                proto.graph.value_info.append(measured)
    return GraphBundle(proto, bundle.weights)
