from collections.abc import Sequence

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from scanner.base.errors import ModelError
from scanner.graph.cut import consumed, segments

Edges = list[tuple[list[str], list[str]]]


def graph(nodes: Sequence[onnx.NodeProto]) -> onnx.GraphProto:
    value = helper.make_tensor_value_info
    return helper.make_graph(
        nodes, "g", [value("in", TensorProto.FLOAT, None)], [value("out", TensorProto.FLOAT, None)]
    )


def cuts(nodes: Sequence[onnx.NodeProto]) -> list[str]:
    return [segment.end for segment in segments(graph(nodes), "in", "out")]


def node(inputs: str, outputs: str, operator: str = "Op") -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split())


def test_chain_is_cut_everywhere() -> None:
    assert cuts([node("in", "a"), node("a", "b"), node("b", "out")]) == ["a", "b", "out"]


def test_residual_block_is_cut_where_it_ends() -> None:
    nodes = [node("in", "a"), node("a", "f"), node("f", "g"), node("g a", "sum"), node("sum", "out")]
    assert cuts(nodes) == ["a", "sum", "out"]


def test_weights_and_shapes_are_no_paths() -> None:
    nodes = [
        node("w", "w2"),
        node("in w2", "a"),
        node("a", "s", "Shape"),
        node("s", "t"),
        node("a", "b"),
        node("b t", "out", "Reshape"),
    ]
    assert cuts(nodes) == ["a", "b", "out"]


def test_two_outputs_of_one_node_cut_nothing() -> None:
    assert cuts([node("in", "a b", "Split"), node("a", "c"), node("b c", "out")]) == ["out"]


def test_unused_branches_do_not_matter() -> None:
    assert cuts([node("in", "a"), node("in", "x"), node("x a", "y"), node("a", "out")]) == ["a", "out"]


def test_subgraphs_count_with_what_they_capture() -> None:
    body = helper.make_graph(
        [node("a", "r")], "body", [], [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)]
    )
    branch = helper.make_node("If", ["b"], ["out"], then_branch=body, else_branch=body)
    assert set(consumed(branch)) == {"a", "b"}
    assert cuts([node("in", "a"), node("a", "b"), branch]) == ["a", "out"]


def test_nodes_of_a_segment_are_those_between_its_ends() -> None:
    nodes = [node("in", "a", "A"), node("a", "f", "F"), node("f a", "s", "S"), node("s", "out", "O")]
    parts = segments(graph(nodes), "in", "out")
    assert [[item.op_type for item in part.nodes] for part in parts] == [["A"], ["F", "S"], ["O"]]


def test_output_independent_of_the_input_is_refused() -> None:
    with pytest.raises(ModelError, match="does not depend"):
        cuts([node("w", "out")])


@st.composite
def random_graphs(draw: st.DrawFn) -> list[onnx.NodeProto]:
    """A random DAG of up to 12 nodes with one to two outputs each, whose last tensor is the output."""
    names = ["in", "weight"]
    nodes = []
    count = draw(st.integers(1, 12))
    for index in range(count):
        inputs = draw(st.lists(st.sampled_from(names[-5:]), min_size=1, max_size=3))
        outputs = [f"t{index}"] if draw(st.integers(0, 4)) else [f"t{index}", f"u{index}"]
        operator = "Shape" if draw(st.integers(0, 9)) == 0 else "Op"
        if index == count - 1:
            outputs, operator = ["out"], "Op"
        nodes.append(helper.make_node(operator, inputs, outputs))
        names += outputs
    return nodes


def reachable(nodes: Sequence[onnx.NodeProto], removed: str | None) -> bool:
    """Whether a path leads from in to out that avoids the removed tensor."""
    seen = {"in"} - {removed}
    for item in nodes:
        if item.op_type != "Shape" and seen & set(item.input):
            seen |= set(item.output) - {removed}
    return "out" in seen


@settings(max_examples=300, deadline=None)
@given(random_graphs())
def test_cuts_are_the_tensors_whose_removal_disconnects(nodes: list[onnx.NodeProto]) -> None:
    if not reachable(nodes, None):
        with pytest.raises(ModelError):
            cuts(nodes)
        return
    tensors = [name for item in nodes for name in item.output]
    assert cuts(nodes) == [name for name in tensors if name == "out" or not reachable(nodes, name)]
