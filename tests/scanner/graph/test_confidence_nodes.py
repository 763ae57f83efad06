"""The nodes that take the network's confidence into account equal NumPy's."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from detectors.baselines.confidence import log_odds
from detectors.deep_features.confidence import ConfidenceSlopes
from scanner.graph.bundle import IR_VERSION, OPSET, GraphBundle
from scanner.graph.confidence_nodes import append_confidence
from scanner.graph.nodes import NodeWriter
from scanner.graph.session import GraphSession

NAN = float("nan")


def run(slopes: ConfidenceSlopes | None, scores: np.ndarray, logits: np.ndarray) -> np.ndarray:
    classes, (folds, count) = logits.shape[1], scores.shape[1:]
    inputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes]),
        helper.make_tensor_value_info("given", TensorProto.DOUBLE, ["batch", folds, count]),
    ]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.DOUBLE, ["batch", folds, count])]
    graph = helper.make_graph([], "confidence", inputs, outputs)
    writer = NodeWriter(graph, "test/")
    predicted = writer.node("ArgMax", "logits", axis=1, keepdims=0)
    append_confidence(writer, "given", predicted, slopes, classes, "scores")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    session = GraphSession(*GraphBundle.from_model_proto(model).serialise(), device="cpu")
    return session.run({"logits": logits, "given": scores})["scores"]


BOUNDS = {"mixed": [0.0, NAN, -1.0, NAN], "none": [NAN] * 4, "all": [0.0, 0.0, -2.0, 1.0]}


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("classes", [2, 3, 1000])
def test_scores_equal_numpys(bounds: str, classes: int) -> None:
    rng = np.random.default_rng(classes)
    logits = (rng.normal(size=(50, classes)) * np.geomspace(0.01, 300, 50)[:, None]).astype(np.float32)
    logits[3] = 0.0  # every class the same
    scores = rng.gamma(2.0, size=(50, 5, 4)) + 1.0
    slopes = ConfidenceSlopes(np.array([0.3, 2.0, 0.0, 1e4]), 3.0, -1.0, 20.0, np.array(BOUNDS[bounds]))
    if bounds == "all":
        slopes = ConfidenceSlopes(np.array([0.3, 2.0, 0.0, 0.1]), 3.0, -1.0, 20.0, np.array(BOUNDS[bounds]))
    expected = slopes(scores, log_odds(logits.astype(float)))
    assert len(np.unique(expected / scores)) > 50
    np.testing.assert_allclose(run(slopes, scores, logits), expected, rtol=1e-9, atol=1e-9)


def test_logits_that_are_not_finite_give_no_number_that_looks_clean() -> None:
    slopes = ConfidenceSlopes(np.array([0.3, 2.0]), 3.0, -1.0, 20.0, np.array([0.0, NAN]))
    logits = np.array([[np.nan, 0.0], [np.inf, 0.0], [np.inf, np.inf], [0.0, 1.0]], np.float32)
    got = run(slopes, np.ones((4, 1, 2)), logits)
    assert np.isfinite(got[3]).all()
    assert not np.isfinite(got[0]).any()
    assert ((got[1:3] >= 1) | np.isnan(got[1:3])).all()


@pytest.mark.parametrize("slopes", [None, ConfidenceSlopes(np.zeros(2), 0.0, 0.0, 0.0, np.array([0.0, NAN]))])
@pytest.mark.parametrize("classes", [1, 4])
def test_without_slopes_scores_stay(slopes: ConfidenceSlopes | None, classes: int) -> None:
    scores = np.random.default_rng(0).normal(size=(6, 2, 2))
    np.testing.assert_array_equal(run(slopes, scores, np.ones((6, classes), np.float32)), scores)
