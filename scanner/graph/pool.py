"""Appending to a graph: descriptors of its taps, and an input that takes pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from scanner.base.errors import PreprocessError
from scanner.graph.bundle import GraphBundle
from scanner.graph.shapes import BATCH, declared_type
from scanner.graph.taps import Layout, Tap

if TYPE_CHECKING:
    from scanner.inputs.preprocess import PreprocessSpec

Pooling = Literal["mean", "max", "token", "value"]

PIXELS = "pixels"
_PREFIX = "modelscan"
_NODES = {
    ("NCHW", "mean"): "GlobalAveragePool",
    ("NCHW", "max"): "GlobalMaxPool",
    ("NHWC", "mean"): "ReduceMean",
    ("NHWC", "max"): "ReduceMax",
    ("NLC", "mean"): "ReduceMean",
    ("NLC", "max"): "ReduceMax",
}
_POSITION_AXES = {"NHWC": (1, 2), "NLC": (1,)}


@dataclass(frozen=True)
class Descriptor:
    """One vector per image, computed from a tap.

    Attributes:
        tap: Where it is computed from.
        pooling: ``mean`` and ``max`` over all positions, ``token`` for the class token, ``value`` for a
            tap that has one position only.
        output: Name of the graph output, of shape (N, ``dim``).
        dim: Length of the vector: the channels of the tap.
    """

    tap: Tap
    pooling: Pooling
    output: str
    dim: int

    @property
    def key(self) -> str:
        """Stable name for reports and profiles, ``layer:pooling``."""
        return f"{self.tap.name}:{self.pooling}"


def add_descriptors(bundle: GraphBundle, taps: Sequence[Tap]) -> tuple[GraphBundle, tuple[Descriptor, ...]]:
    """Append the pooled activations of ``taps`` as further float32 outputs.

    Channels-first taps are pooled by the global pooling operators, which ONNX Runtime computes in its
    blocked channel layout: no layout conversion is added to the network.
    """
    proto = bundle.copy_proto()
    graph = proto.graph
    descriptors: list[Descriptor] = []
    for number, tap in enumerate(taps):
        tensor = tap.tensor
        if tap.element != TensorProto.FLOAT:
            tensor = f"{_PREFIX}/{number}/float32"
            graph.node.append(helper.make_node("Cast", [tap.tensor], [tensor], name=tensor, to=TensorProto.FLOAT))
        for pooling in _poolings(tap):
            output = f"{_PREFIX}/{number}/{pooling}"
            graph.node.extend(_pool(graph, tensor, tap.layout, pooling, output))
            graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, [BATCH, tap.channels]))
            descriptors.append(Descriptor(tap, pooling, output, tap.channels))
    return GraphBundle(proto, bundle.weights), tuple(descriptors)


def _poolings(tap: Tap) -> tuple[Pooling, ...]:
    if tap.positions == 1:
        return ("value",)
    return ("mean", "max", "token") if tap.class_token else ("mean", "max")


def _pool(
    graph: onnx.GraphProto, tensor: str, layout: Layout, pooling: Pooling, output: str
) -> Iterator[onnx.NodeProto]:
    if pooling == "value":
        yield helper.make_node("Flatten", [tensor], [output], name=output, axis=1)
    elif pooling == "token":
        first = _constant(graph, f"{output}/index", np.asarray(0, dtype=np.int64))
        yield helper.make_node("Gather", [tensor, first], [output], name=output, axis=1)
    elif layout == "NCHW":
        pooled = f"{output}/pooled"
        yield helper.make_node(_NODES[layout, pooling], [tensor], [pooled], name=pooled)
        yield helper.make_node("Flatten", [pooled], [output], name=output, axis=1)
    else:
        axes = _constant(graph, f"{output}/axes", np.asarray(_POSITION_AXES[layout], dtype=np.int64))
        yield helper.make_node(_NODES[layout, pooling], [tensor, axes], [output], name=output, keepdims=0)


def add_pixel_input(bundle: GraphBundle, spec: PreprocessSpec) -> GraphBundle:
    """Replace the normalised image input by ``pixels``: uint8, (N, H, W, channels), RGB or grey.

    Scaling, normalisation, channel order and layout become part of the graph. A scale of 1/n is computed
    as a division by n, as torchvision does, so that the results are equal to the last bit.

    Args:
        bundle: Graph with one float32 image input (N, C, H, W) or (N, H, W, C).
        spec: Preprocessing whose size and channels match that input.

    Raises:
        PreprocessError: They do not match.
    """
    proto = bundle.copy_proto()
    graph = proto.graph
    image = graph.input[0]
    height, width = spec.size
    shape = (declared_type(image).shape or ())[1:]
    channels_first = shape == (spec.channels, height, width)
    if not channels_first and shape != (height, width, spec.channels):
        sizes = "x".join(str(size) for size in shape)
        raise PreprocessError(
            f"the preprocessing makes {spec.channels}-channel images of {height}x{width}, and the model takes {sizes}"
        )
    pixels = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, [BATCH, height, width, spec.channels])
    nodes = list(_normalise(graph, spec, channels_first, image.name))
    existing = [*graph.node]
    del graph.node[:]
    graph.node.extend([*nodes, *existing])
    graph.input[0].CopyFrom(pixels)
    return GraphBundle(proto, bundle.weights)


def _normalise(
    graph: onnx.GraphProto, spec: PreprocessSpec, channels_first: bool, image: str
) -> Iterator[onnx.NodeProto]:
    """The nodes from ``pixels`` to ``image``. The layout changes first, while a pixel is still one byte."""
    axis, per_channel = (1, (-1, 1, 1)) if channels_first else (3, (-1,))
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    if channels_first:
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    if spec.channel_order == "BGR" and spec.channels == 3:
        order = _constant(graph, f"{_PREFIX}/bgr", np.asarray([2, 1, 0], dtype=np.int64))
        steps.append(("Gather", [order], {"axis": axis}))
    steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
    divisor = round(1 / spec.scale)
    if abs(divisor * spec.scale - 1) < 1e-6:
        steps += _arithmetic(graph, "Div", "scale", np.asarray(divisor), neutral=1)
    else:
        steps += _arithmetic(graph, "Mul", "scale", np.asarray(spec.scale), neutral=1)
    steps += _arithmetic(graph, "Sub", "mean", np.asarray(spec.mean).reshape(per_channel), neutral=0)
    steps += _arithmetic(graph, "Div", "std", np.asarray(spec.std).reshape(per_channel), neutral=1)
    before = PIXELS
    for number, (operator, constants, attributes) in enumerate(steps):
        after = image if number + 1 == len(steps) else f"{_PREFIX}/{operator.lower()}_{number}"
        yield helper.make_node(operator, [before, *constants], [after], name=f"{after}/node", **attributes)
        before = after


def _arithmetic(
    graph: onnx.GraphProto, operator: str, name: str, value: NDArray[np.generic], *, neutral: float
) -> list[tuple[str, list[str], dict[str, Any]]]:
    if np.all(value == neutral):
        return []
    return [(operator, [_constant(graph, f"{_PREFIX}/{name}", value.astype(np.float32))], {})]


def _constant(graph: onnx.GraphProto, name: str, value: NDArray[np.generic]) -> str:
    graph.initializer.append(numpy_helper.from_array(value, name))
    return name
