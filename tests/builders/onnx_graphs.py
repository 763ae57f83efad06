"""Small ONNX graphs, written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from scanner.graph.bundle import GraphBundle

Node = tuple[str, Sequence[str], Sequence[str]]


def weights(rng_seed: int, *shape: int) -> np.ndarray:
    fan_in = max(int(np.prod(shape[1:])), 1)
    return (np.random.default_rng(rng_seed).standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)


def model(
    nodes: Sequence[Node | onnx.NodeProto],
    initialisers: dict[str, np.ndarray],
    *,
    image: Sequence[int | str | None] = ("batch", 3, 8, 8),
    output: tuple[str, Sequence[int | str | None] | None] = ("logits", ("batch", 4)),
    input_name: str = "image",
    opset: int = 20,
    element: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model; nodes are (operator, inputs, outputs) or made with onnx.helper."""
    graph = helper.make_graph(
        [node if isinstance(node, onnx.NodeProto) else helper.make_node(node[0], node[1], node[2]) for node in nodes],
        "test",
        [helper.make_tensor_value_info(input_name, element, image)],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        [numpy_helper.from_array(value, name) for name, value in initialisers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def conv_net(**options: object) -> onnx.ModelProto:
    """conv - relu - pool - conv - relu - global pool - flatten - dense."""
    return model(
        [
            ("Conv", [str(options.get("input_name", "image")), "w1"], ["c1"]),
            ("Relu", ["c1"], ["r1"]),
            helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
            ("Conv", ["p1", "w2"], ["c2"]),
            ("Relu", ["c2"], ["r2"]),
            ("GlobalAveragePool", ["r2"], ["g"]),
            ("Flatten", ["g"], ["f"]),
            ("Gemm", ["f", "w3", "b3"], ["logits"]),
        ],
        {"w1": weights(1, 16, 3, 3, 3), "w2": weights(2, 32, 16, 1, 1), "w3": weights(3, 32, 4), "b3": weights(4, 4)},
        **options,  # type: ignore[arg-type]
    )


def conv_bundle() -> GraphBundle:
    return GraphBundle.from_model_proto(conv_net())
