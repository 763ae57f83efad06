"""Further outputs for a serialised graph, against the library that a scan does without."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from scnn_samples import pixels, scnn_bundle

from scanner.base.errors import ProfileError
from scanner.graph.pool import add_pixel_input
from scanner.graph.session import GraphSession
from scanner.inputs.spec import PreprocessSpec
from scanner.profile.inner_tensors import with_outputs

SPEC = PreprocessSpec((12, 12), 1, None, "bilinear", False, 1 / 255, (0.5,), (0.25,))


def test_inner_tensors_become_outputs() -> None:
    graph, weights = add_pixel_input(scnn_bundle(), SPEC).serialise()
    model = onnx.load_model_from_string(graph)
    inner = [node.output[0] for node in model.graph.node if node.op_type == "Relu"]
    assert len(inner) > 1
    changed = with_outputs(graph, inner)
    parsed = onnx.load_model_from_string(changed)
    assert [output.name for output in parsed.graph.output] == [*(o.name for o in model.graph.output), *inner]
    assert parsed.graph.node == model.graph.node
    images = {"pixels": pixels(3)}
    outputs = GraphSession(changed, weights, device="cpu").run(images)
    assert all(outputs[name].shape[0] == 3 and (outputs[name] >= 0).all() for name in inner)
    np.testing.assert_array_equal(outputs["logits"], GraphSession(graph, weights, device="cpu").run(images)["logits"])


@pytest.mark.parametrize("length", [1, 127, 128, 300, 70_000])
def test_names_of_any_length_and_alphabet(length: int) -> None:
    name = "/ü" * length
    model = onnx.ModelProto()
    model.graph.name = "g"
    parsed = onnx.load_model_from_string(with_outputs(model.SerializeToString(), [name, "b"]))
    assert [output.name for output in parsed.graph.output] == [name, "b"]
    assert parsed.graph.name == "g"


def test_a_tensor_that_is_not_there_is_an_error() -> None:
    graph, weights = add_pixel_input(scnn_bundle(), SPEC).serialise()
    with pytest.raises(ProfileError, match="cannot load the graph"):
        GraphSession(with_outputs(graph, ["nothing"]), weights, device="cpu", error=ProfileError)
