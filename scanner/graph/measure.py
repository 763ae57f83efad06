"""Running a graph to see its intermediate tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from scanner.base.errors import ModelError
from scanner.graph.bundle import GraphBundle
from scanner.graph.session import GraphSession
from scanner.graph.shapes import BATCH
from scanner.graph.taps import unmeasured_tensors

_ROWS = (2, 3)
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
    not. A dimension is the batch when it follows the number of images; tensors that mix the batch with
    other dimensions stay undeclared.

    Args:
        bundle: Graph with one image input of dynamic batch.
        image: One input image, with a leading dimension of 1.

    Raises:
        ModelError: ONNX Runtime cannot run the graph.
    """
    names = unmeasured_tensors(bundle.proto)
    if not names:
        return bundle
    proto = bundle.copy_proto()
    known = {value.name: value for value in (*proto.graph.value_info, *proto.graph.output)}
    for name, (element, sizes) in _measured(bundle, image, names).items():
        value = onnx.helper.make_tensor_value_info(name, element, [BATCH, *sizes])
        if name in known:
            known[name].CopyFrom(value)
        else:
            proto.graph.value_info.append(value)
    return GraphBundle(proto, bundle.weights)


def _measured(
    bundle: GraphBundle, image: NDArray[np.float32], names: Sequence[str]
) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Element type and shape without the batch, of those tensors whose first dimension alone is the batch."""
    found: dict[str, tuple[int, tuple[int, ...]]] = {}
    for start in range(0, len(names), _AT_ONCE):
        session = open_tensors(bundle, names[start : start + _AT_ONCE])
        runs = [session.run({session.input_names[0]: np.repeat(image, rows, axis=0)}) for rows in _ROWS]
        for name in session.output_names:
            shapes = [run[name].shape for run in runs]
            if all(shape == (rows, *shapes[0][1:]) for shape, rows in zip(shapes, _ROWS, strict=True)):
                found[name] = (onnx.helper.np_dtype_to_tensor_dtype(runs[0][name].dtype), shapes[0][1:])
    return found
