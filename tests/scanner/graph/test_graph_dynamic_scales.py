"""Scales of dynamic quantisation are no path around the weights, unless they are made one."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from scanner.graph.structure.analyse import analyse
from scanner.graph.structure.read import read_program_bytes


def quantised(*, scale_for="its own result"):
    """Two layers, the first quantised dynamically; the first scale goes to its own result, or past the weights."""
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["image"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w1"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "ws"], ["scale"]),
        helper.make_node("Mul", ["f", "scale"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["plain"]),
    ]
    last = ["plain", "scale"] if scale_for == "the logits" else ["plain", "zero"]
    nodes.append(helper.make_node("Add", last, ["logits"]))
    weights = {
        "w1": np.ones((8, 4), np.int8),
        "ws": np.float32(0.1),
        "w2": np.ones((4, 3), np.float32),
        "zero": np.zeros(3, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


@pytest.mark.parametrize(("scale_for", "fewest"), [("its own result", 2), ("the logits", 0)])
def test_a_scale_is_followed_wherever_else_it_goes(scale_for, fewest):
    structure = analyse(read_program_bytes(quantised(scale_for=scale_for).SerializeToString()))
    assert structure.fewest == fewest
    assert bool(structure.bypass) == (fewest == 0)
