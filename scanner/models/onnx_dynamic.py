"""Dynamic quantisation, one image at a time. Runs in the child process.

``DynamicQuantizeLinear`` scales a whole batch by its range, so that an image's logits would depend on the images beside
it. What a network gives an image on its own is well defined, and is computed here for every image of a batch: range,
scale and zero point by image, and the integers' products in float32, which holds them nearly exactly.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from scanner.base.errors import ModelError
from scanner.graph.bundle import GraphBundle, element_type, external_range, is_external
from scanner.models.onnx_walk import all_nodes, printable

_RANGE = 255.0
HINT = "Scan the float32 network, or one quantised statically"


def per_image(bundle: GraphBundle) -> tuple[GraphBundle, list[str]]:
    """The graph with ranges by image where it takes them by batch, and a note where that was so.

    Args:
        bundle: Taken over and changed.

    Raises:
        ModelError: Something other than a convolution or product with stored weights reads the integers.
    """
    graph = bundle.proto.graph
    dynamic = [node for node in graph.node if node.op_type == "DynamicQuantizeLinear"]
    if not dynamic:
        return bundle, []
    if sum(node.op_type == "DynamicQuantizeLinear" for node in all_nodes(graph)) > len(dynamic):
        raise ModelError("the network is quantised dynamically within control flow", hint=HINT)
    bundle = GraphBundle(bundle.copy_proto(), bundle.weights)
    rewrite = _Rewrite(bundle)
    rewrite.run()
    note = f"quantised dynamically: {len(dynamic)} ranges are taken image by image, as for one image at a time"
    return GraphBundle.from_model_proto(bundle.proto, bundle.weights, in_place=True), [note]


class _Rewrite:
    def __init__(self, bundle: GraphBundle) -> None:
        self._graph = bundle.proto.graph
        self._bundle = bundle
        self._stored = {tensor.name: tensor for tensor in self._graph.initializer}
        self._centred: dict[str, str] = {}
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        integers: set[str] = set()
        for node in self._graph.node:
            if node.op_type == "DynamicQuantizeLinear":
                integers |= {node.output[0], node.output[2]}
                self._quantise(node)
            elif node.op_type in ("ConvInteger", "MatMulInteger") and node.input[0] in self._centred:
                self._multiply(node)
            elif integers & set(node.input):
                reader = printable(node.op_type, 40)
                raise ModelError(f"the network is quantised dynamically, and {reader} reads the integers", hint=HINT)
            else:
                self._nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        read = {name for node in all_nodes(self._graph) for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        del self._graph.value_info[:]

    def _quantise(self, node: onnx.NodeProto) -> None:
        """Integers less their zero point, as float32, and scales by image.

        As the operator is defined: the range includes 0, and rounding is to the even.
        """
        image, (integer, scale) = node.input[0], (node.output[0], node.output[1])
        name = f"{integer}/per_image"
        zero, one, full = self._constant(name, 0.0), self._constant(name, 1.0), self._constant(name, _RANGE)
        axes = self._axes(name, image)
        for sign, operator in (("low", "ReduceMin"), ("high", "ReduceMax")):
            self._nodes.append(
                helper.make_node(operator, [image, axes], [f"{name}/{sign}_raw"], keepdims=1, name=f"{name}/{sign}")
            )
        steps = [
            ("Min", [f"{name}/low_raw", zero], f"{name}/low"),
            ("Max", [f"{name}/high_raw", zero], f"{name}/high"),
            ("Sub", [f"{name}/high", f"{name}/low"], f"{name}/range"),
            ("Div", [f"{name}/range", full], f"{name}/step"),
            ("Equal", [f"{name}/step", zero], f"{name}/flat"),
            ("Where", [f"{name}/flat", one, f"{name}/step"], scale),
            ("Div", [f"{name}/low", scale], f"{name}/from"),
            ("Sub", [zero, f"{name}/from"], f"{name}/first"),
            ("Clip", [f"{name}/first", zero, full], f"{name}/bounded"),
            ("Round", [f"{name}/bounded"], f"{name}/zero_point"),
            ("Div", [image, scale], f"{name}/scaled"),
            ("Round", [f"{name}/scaled"], f"{name}/rounded"),
            ("Add", [f"{name}/rounded", f"{name}/zero_point"], f"{name}/shifted"),
            ("Clip", [f"{name}/shifted", zero, full], f"{name}/clipped"),
            ("Sub", [f"{name}/clipped", f"{name}/zero_point"], f"{name}/centred"),
        ]
        self._nodes += [helper.make_node(kind, read, [made], name=f"{made}/node") for kind, read, made in steps]
        self._centred[integer] = f"{name}/centred"

    def _multiply(self, node: onnx.NodeProto) -> None:
        weights = self._weights(node)
        operator = "Conv" if node.op_type == "ConvInteger" else "MatMul"
        product = f"{node.output[0]}/float"
        made = helper.make_node(operator, [self._centred[node.input[0]], weights], [product], name=f"{product}/node")
        made.attribute.extend(node.attribute)
        # What follows casts int32 to float, which float32 passes.
        self._nodes += [made, helper.make_node("Identity", [product], [node.output[0]], name=f"{product}/same")]

    def _weights(self, node: onnx.NodeProto) -> str:
        name = node.input[1]
        stored = self._stored.get(name)
        if stored is None:
            raise ModelError("the network is quantised dynamically, and multiplies two activations", hint=HINT)
        values = self._values(stored).astype(np.float32)
        if len(node.input) > 3 and node.input[3]:
            zero = self._stored.get(node.input[3])
            if zero is None:
                raise ModelError("the network is quantised dynamically, with computed zero points", hint=HINT)
            points = self._values(zero).astype(np.float32)
            if points.ndim == 1 and points.size > 1 and node.op_type == "ConvInteger":
                points = points.reshape(-1, *[1] * (values.ndim - 1))
            values = values - points
        made = f"{name}/float"
        if made not in self._stored:
            tensor = numpy_helper.from_array(values, made)
            self._stored[made] = tensor
            self._graph.initializer.append(tensor)
        return made

    def _values(self, tensor: onnx.TensorProto) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        element = element_type(tensor)
        if not is_external(tensor) or element is None:
            return numpy_helper.to_array(tensor)
        offset, length = external_range(tensor, len(self._bundle.weights))
        return np.frombuffer(self._bundle.weights[offset : offset + length], element).reshape(tuple(tensor.dims))

    def _constant(self, name: str, value: float) -> str:
        made = f"{name}/{value:g}"
        self._graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), made))
        return made

    def _axes(self, name: str, image: str) -> str:
        """All axes but the first, as a tensor: the rank is known once the graph runs."""
        steps: list[tuple[str, list[str], str]] = [
            ("Shape", [image], f"{name}/shape"),
            ("Shape", [f"{name}/shape"], f"{name}/rank_vector"),
            ("Squeeze", [f"{name}/rank_vector"], f"{name}/rank"),
        ]
        self._nodes += [helper.make_node(kind, read, [made], name=f"{made}/node") for kind, read, made in steps]
        first = f"{name}/second_axis"
        self._graph.initializer.append(numpy_helper.from_array(np.array(1, np.int64), first))
        count = helper.make_node("Range", [first, f"{name}/rank", first], [f"{name}/axes"], name=f"{name}/axes/node")
        self._nodes.append(count)
        return f"{name}/axes"
