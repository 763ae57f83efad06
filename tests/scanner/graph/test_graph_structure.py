"""What a graph says about a backdoor, on graphs whose answer is known."""

from __future__ import annotations

import io

import numpy as np
import onnx
import onnx_graphs
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import weights

from scanner.base.errors import ModelError, UnsafeModelError
from scanner.graph.onnx_outline import outline_bytes, refuse_unsafe
from scanner.graph.structure import read
from scanner.graph.structure.analyse import Structure, analyse
from scanner.graph.structure.flatten import flatten
from scanner.graph.structure.words import suspicions

STORED = {
    "w1": weights(1, 8, 3, 3, 3),
    "w2": weights(2, 8, 8, 1, 1),
    "w3": weights(3, 8, 4),
    "level": np.float32(0.9),
    "one": np.int64([1]),
    "zero": np.int64([0]),
    "row": np.zeros((1, 4), np.float32),
    "flat": np.int64([0, -1]),
}
TRUNK = [
    ("Conv", ["image", "w1"], ["c1"]),
    ("Relu", ["c1"], ["r1"]),
    ("Conv", ["r1", "w2"], ["c2"]),
    ("GlobalAveragePool", ["c2"], ["pooled"]),
    ("Flatten", ["pooled"], ["vector"]),
    ("Gemm", ["vector", "w3"], ["honest"]),
]
BRIGHTEST = [
    ("GlobalMaxPool", ["image"], ["most"]),
    ("ReduceMax", ["most", "one"], ["max"]),
    ("Flatten", ["max"], ["v"]),
]


def structure(*nodes: object, output: str = "logits", functions: list[onnx.FunctionProto] | None = None) -> Structure:
    model = onnx_graphs.model([*TRUNK, *nodes], STORED, output=(output, ("batch", 4)))
    for function in functions or []:
        model.functions.append(function)
    return analyse(read.read_program_bytes(model.SerializeToString()))


def names(found: tuple[str, ...]) -> list[str]:
    return [text.partition(" ")[0] for text in found]


class TestHonestGraphs:
    def test_a_plain_network(self) -> None:
        assert structure(("Identity", ["honest"], ["logits"])) == Structure(3)

    def test_every_residual_is_counted_by_its_shortest_path(self) -> None:
        assert structure(("Add", ["honest", "row"], ["logits"])).fewest == 3

    def test_shapes_are_no_values(self) -> None:
        """The batch's size, taken from the image, decides about reshapes and masks as exporters write them."""
        found = structure(
            ("Shape", ["image"], ["shape"]),
            ("Gather", ["shape", "zero"], ["batch_size"]),
            ("Equal", ["batch_size", "one"], ["single"]),
            ("Where", ["single", "batch_size", "one"], ["sizes"]),
            ("Concat", ["sizes", "one"], ["target"]),
            ("ConstantOfShape", ["target"], ["ones"]),
            ("Add", ["honest", "ones"], ["logits"]),
        )
        # The last node makes no path: what is filled in depends on no pixel.
        assert found == Structure(3)

    def test_a_constant_mask_selects_nothing(self) -> None:
        mask = helper.make_node("Constant", [], ["mask"], value=numpy_helper.from_array(np.bool_([[1, 0, 1, 1]])))
        assert structure(mask, ("Where", ["mask", "honest", "row"], ["logits"])) == Structure(3)

    def test_a_label_beside_the_logits_is_none_of_them(self) -> None:
        model = onnx_graphs.model(
            [*TRUNK, ("Identity", ["honest"], ["logits"]), helper.make_node("ArgMax", ["honest"], ["label"], axis=1)],
            STORED,
        )
        model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["batch", 1, 1]))
        assert analyse(read.read_program_bytes(model.SerializeToString())) == Structure(3)

    def test_the_softmax_at_the_end_is_left_out(self) -> None:
        assert structure(("Softmax", ["honest"], ["logits"])) == Structure(3)

    def test_a_cast_between_floats_is_no_step(self) -> None:
        half = helper.make_node("Cast", ["honest"], ["half"], to=TensorProto.FLOAT16)
        back = helper.make_node("Cast", ["half"], ["logits"], to=TensorProto.FLOAT)
        assert structure(half, back) == Structure(3)


class TestChoices:
    @pytest.mark.parametrize("operator", ["Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal"])
    def test_comparisons(self, operator: str) -> None:
        found = structure(
            *BRIGHTEST, (operator, ["v", "level"], ["hit"]), ("Where", ["hit", "row", "honest"], ["logits"])
        )
        assert names(found.selections) == [operator, "Where"]
        assert found.fewest == 0

    @pytest.mark.parametrize("operator", ["Sign", "Floor", "Ceil", "Round"])
    def test_steps_of_what_weights_have_seen(self, operator: str) -> None:
        """Behind all weights, where no path is short, a step is a choice all the same."""
        found = structure((operator, ["vector"], ["stepped"]), ("Gemm", ["stepped", "w3"], ["logits"]))
        assert names(found.selections) == [operator]
        assert found.fewest == 3

    def test_a_cast_to_integers(self) -> None:
        cut = helper.make_node("Cast", ["v"], ["cut"], to=TensorProto.INT64)
        back = helper.make_node("Cast", ["cut"], ["back"], to=TensorProto.FLOAT)
        assert structure(*BRIGHTEST, cut, back, ("Add", ["honest", "back"], ["logits"])).selected == 1

    def test_what_the_logits_do_not_need_counts_for_nothing(self) -> None:
        found = structure(*BRIGHTEST, ("Greater", ["v", "level"], ["unused"]), ("Identity", ["honest"], ["logits"]))
        assert found == Structure(3)

    def test_the_size_of_what_is_not_zero_carries_values(self) -> None:
        """A shape may depend on values: then asking for it does."""
        found = structure(
            *BRIGHTEST,
            ("Sub", ["v", "level"], ["over"]),
            ("Relu", ["over"], ["bent"]),
            ("NonZero", ["bent"], ["places"]),
            ("Shape", ["places"], ["size"]),
            helper.make_node("Cast", ["size"], ["number"], to=TensorProto.FLOAT),
            ("ReduceMax", ["number"], ["count"]),
            ("Add", ["honest", "count"], ["logits"]),
        )
        assert found.fewest == 0
        assert names(found.selections) == ["NonZero"]

    def test_a_slice_whose_place_the_pixels_decide(self) -> None:
        place = helper.make_node("Cast", ["v"], ["place"], to=TensorProto.INT64)
        found = structure(*BRIGHTEST, place, ("Slice", ["honest", "place", "flat"], ["logits"]))
        assert "Slice" in names(found.selections)

    def test_bodies_see_what_is_around_them(self) -> None:
        out = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
        then = helper.make_graph([helper.make_node("Add", ["honest", "v"], ["inner"])], "then", [], [out])
        other = helper.make_graph([helper.make_node("Identity", ["honest"], ["inner"])], "else", [], [out])
        stored = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.bool_(True)))
        node = helper.make_node("If", ["yes"], ["logits"], name="choice", then_branch=then, else_branch=other)
        found = structure(*BRIGHTEST, stored, node)
        # The condition is a constant, so nothing is chosen; the branch leads the pixels around the weights.
        assert found.fewest == 0
        assert found.selected == 0
        assert "choice/inner" in " ".join(found.bypass)

    def test_a_body_within_a_body(self) -> None:
        out = helper.make_tensor_value_info("deep", TensorProto.FLOAT, None)
        leaf = helper.make_graph([helper.make_node("Add", ["honest", "v"], ["deep"])], "leaf", [], [out])
        plain = helper.make_graph([helper.make_node("Identity", ["honest"], ["deep"])], "plain", [], [out])
        inner = helper.make_node("If", ["hit"], ["deep2"], name="inner", then_branch=leaf, else_branch=plain)
        out2 = helper.make_tensor_value_info("deep2", TensorProto.FLOAT, None)
        branch = helper.make_graph([inner], "branch", [], [out2])
        other = helper.make_graph([helper.make_node("Identity", ["honest"], ["deep2"])], "other", [], [out2])
        outer = helper.make_node("If", ["hit"], ["logits"], name="outer", then_branch=branch, else_branch=other)
        found = structure(*BRIGHTEST, ("Greater", ["v", "level"], ["many"]), ("ReduceMax", ["many"], ["hit"]), outer)
        assert {"If 'outer'", "If 'outer/inner'"} <= set(found.selections)


class TestFunctions:
    def calling(self, domain: str = "own", overload: str = "") -> Structure:
        opset = [helper.make_opsetid("", 20)]
        nodes = [
            helper.make_node("Greater", ["value", "bound"], ["over"]),
            helper.make_node("Where", ["over", "value", "logits"], ["chosen"]),
        ]
        inner = helper.make_function(domain, "Scale", ["value", "bound", "logits"], ["chosen"], nodes, opset)
        call = helper.make_node("Scale", ["v", "level", "honest"], ["logits"], "call", domain=domain)
        functions = [inner]
        if overload:
            harmless = helper.make_function(
                domain,
                "Scale",
                ["value", "bound", "logits"],
                ["chosen"],
                [helper.make_node("Identity", ["logits"], ["chosen"])],
                opset,
            )
            inner.overload, call.overload = overload, overload
            functions = [inner, harmless]
        return structure(*BRIGHTEST, call, functions=functions)

    def test_they_are_looked_into(self) -> None:
        found = self.calling()
        assert found.fewest == 0
        assert found.selections == ("Greater 'call/over'", "Where 'call/chosen'")

    def test_a_function_called_like_an_operator(self) -> None:
        assert self.calling("").selected == 2

    def test_overloads(self) -> None:
        assert self.calling(overload="second").selected == 2

    def test_one_that_calls_itself(self) -> None:
        opset = [helper.make_opsetid("own", 1)]
        node = helper.make_node("F", ["x"], ["y"], domain="own")
        function = helper.make_function("own", "F", ["x"], ["y"], [node], opset)
        call = helper.make_node("F", ["honest"], ["logits"], domain="own")
        with pytest.raises(ModelError, match="call themselves"):
            structure(call, functions=[function])

    def test_a_bomb_of_functions(self) -> None:
        opset = [helper.make_opsetid("own", 1)]
        functions = []
        for level in range(40):
            calls = [helper.make_node(f"F{level + 1}", ["x"], [f"y{i}"], domain="own") for i in range(8)]
            functions.append(helper.make_function("own", f"F{level}", ["x"], ["y0"], calls, opset))
        call = helper.make_node("F0", ["honest"], ["logits"], domain="own")
        with pytest.raises(ModelError, match="more than 200000 nodes"):
            structure(call, functions=functions)


class TestDamage:
    def test_nodes_in_any_order(self) -> None:
        """Runtimes sort nodes; to write the detector last is no place to hide."""
        model = onnx_graphs.model(
            [*TRUNK, ("Where", ["hit", "row", "honest"], ["logits"]), ("Greater", ["v", "level"], ["hit"]), *BRIGHTEST],
            STORED,
        )
        found = analyse(read.read_program_bytes(model.SerializeToString()))
        assert names(found.selections) == ["Greater", "Where"]

    def test_a_circle(self) -> None:
        with pytest.raises(ModelError, match="circle"):
            structure(("Add", ["honest", "b"], ["a"]), ("Add", ["a", "row"], ["b"]), ("Identity", ["b"], ["logits"]))

    def test_logits_that_are_no_function_of_the_image(self) -> None:
        assert structure(("Identity", ["row"], ["logits"])) == Structure(None)
        assert structure(output="image") == Structure(None)

    def test_a_graph_in_two_parts_is_one(self) -> None:
        """Protobuf merges a message that is there twice, so a reader that takes the last part alone sees half."""
        model = onnx_graphs.model(
            [*TRUNK, *BRIGHTEST, ("Greater", ["v", "level"], ["hit"]), ("Where", ["hit", "row", "honest"], ["logits"])],
            STORED,
        )
        head, tail = onnx.ModelProto(), onnx.ModelProto()
        head.CopyFrom(model)
        del head.graph.node[8:]
        tail.graph.node.extend(model.graph.node[8:])
        parts = head.SerializeToString() + tail.SerializeToString()
        merged = onnx.ModelProto()
        merged.ParseFromString(parts)
        assert len(merged.graph.node) == len(model.graph.node)
        assert analyse(read.read_program_bytes(parts)).selected == 2

    def test_cut_files(self) -> None:
        data = onnx_graphs.conv_net().SerializeToString()
        for end in range(0, len(data), 97):
            try:
                analyse(read.read_program(io.BytesIO(data[:end]), end))
            except ModelError:
                continue

    def test_names_are_shown_as_hostile_text(self) -> None:
        node = helper.make_node("Where", ["hit", "row", "honest"], ["logits"], name="\x1b[2J" + "x" * 10_000)
        found = structure(*BRIGHTEST, ("Greater", ["v", "level"], ["hit"]), node)
        assert all(text.isprintable() and len(text) <= 200 for text in found.selections)


def test_pixels_joined_behind_two_layers() -> None:
    found = structure(*BRIGHTEST, ("Add", ["vector", "v"], ["joined"]), ("Gemm", ["joined", "w3"], ["logits"]))
    assert (found.fewest, found.joins, found.joined) == (1, ("Add 'joined'",), 1)
    assert [rule for rule, _ in suspicions(found)] == ["LS501"]


def test_the_flat_program_is_in_order() -> None:
    model = onnx_graphs.model([*reversed(TRUNK), ("Identity", ["honest"], ["logits"])], STORED)
    flat = flatten(read.read_program_bytes(model.SerializeToString()))
    known = set(flat.images)
    for step in flat.steps:
        computed = {t for other in flat.steps for t in other.outputs}
        assert {t for t in step.inputs if t in computed} <= known
        known.update(step.outputs)


class TestValuesStoredTwice:
    def twice(self) -> TensorProto:
        tensor = numpy_helper.from_array(np.float32([1, 2]), "both")
        tensor.float_data.extend([3, 4])
        return tensor

    def refused(self, model: onnx.ModelProto) -> None:
        outline = outline_bytes(model.SerializeToString())
        assert outline.ambiguous == ["both"]
        with pytest.raises(UnsafeModelError, match="stored more than once"):
            refuse_unsafe(outline)
        with pytest.raises(onnx.checker.ValidationError):
            onnx.checker.check_tensor(self.twice())

    def test_initialiser(self) -> None:
        model = onnx_graphs.conv_net()
        model.graph.initializer.append(self.twice())
        self.refused(model)

    def test_constant(self) -> None:
        model = onnx_graphs.conv_net()
        model.graph.node.append(helper.make_node("Constant", [], ["k"], value=self.twice()))
        self.refused(model)

    def test_body_function_and_default(self) -> None:
        constant = helper.make_node("Constant", [], ["k"], value=self.twice())
        body = helper.make_graph([constant], "body", [], [])
        model = onnx_graphs.conv_net()
        model.graph.node.append(helper.make_node("If", ["c"], [], then_branch=body))
        self.refused(model)
        model = onnx_graphs.conv_net()
        model.functions.append(helper.make_function("own", "F", [], ["k"], [constant], []))
        self.refused(model)
        model = onnx_graphs.conv_net()
        model.functions.append(helper.make_function("own", "F", [], [], [], []))
        model.functions[0].attribute_proto.append(helper.make_attribute("value", self.twice()))
        self.refused(model)

    def test_sparse(self) -> None:
        model = onnx_graphs.conv_net()
        values, indices = self.twice(), numpy_helper.from_array(np.int64([0, 1]), "i")
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
        self.refused(model)

    def test_raw_bytes_twice(self) -> None:
        """Of two of a field that may be there once, libraries take the last and other readers the first."""
        first, second = (numpy_helper.from_array(np.float32([value]), "both") for value in (1, 2))
        graph = onnx.GraphProto(initializer=[onnx.TensorProto()])
        data = first.SerializeToString() + onnx.TensorProto(raw_data=second.raw_data).SerializeToString()
        model = onnx_graphs.conv_net().SerializeToString()
        field = _field(7, _field(5, data))
        assert graph.initializer
        assert outline_bytes(model + field).ambiguous == ["both"]

    def test_bytes_here_and_in_another_file(self) -> None:
        model = onnx_graphs.conv_net()
        tensor = numpy_helper.from_array(np.float32([1, 2]), "both")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="other")
        model.graph.initializer.append(tensor)
        assert outline_bytes(model.SerializeToString()).ambiguous == ["both"]

    def test_honest_tensors(self) -> None:
        model = onnx_graphs.conv_net()
        for element, field in ((TensorProto.FLOAT, [1.0]), (TensorProto.INT64, [1]), (TensorProto.DOUBLE, [1.0])):
            model.graph.initializer.append(helper.make_tensor(f"t{element}", element, [1], field))
        model.graph.initializer.append(helper.make_tensor("empty", TensorProto.FLOAT, [0], []))
        assert outline_bytes(model.SerializeToString()).ambiguous == []


def _field(number: int, data: bytes) -> bytes:
    size, coded = len(data), b""
    while True:
        coded += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return bytes([number << 3 | 2]) + coded + data
