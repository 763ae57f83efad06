"""The merged graph in ONNX Runtime against the densities in NumPy; the exported graph against the calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from scnn_samples import pixels, scnn_bundle

from detectors.baselines.confidence import log_odds
from detectors.calibration.judge import Calibration, calibrate
from detectors.calibration.plan import CalibrationPlan, plan_calibration
from detectors.calibration.standardise import fit_standardiser
from detectors.deep_features.density import FAMILIES, Family
from detectors.deep_features.detector import DeepFeatures, ImageClasses, fit_deep_features
from detectors.deep_features.grouping import NO_GROUP, UNLIKE
from detectors.deep_features.recipe import DEFAULT
from detectors.deep_features.scores import SCORE_KINDS
from scanner.base.errors import ModelError
from scanner.graph.bundle import IR_VERSION, OPSET, GraphBundle
from scanner.graph.head import merge_head
from scanner.graph.pool import Descriptor, add_descriptors, add_pixel_input
from scanner.graph.session import GraphSession
from scanner.graph.taps import Tap, candidate_taps
from scanner.inputs.preprocess import PreprocessSpec
from scanner.profile.calibration_nodes import append_calibration

SPEC = PreprocessSpec((12, 12), 1, None, "bilinear", False, 1 / 255, (0.5,), (0.25,))
ALL_SCORES = replace(DEFAULT, kinds=SCORE_KINDS)


# The head alone, on features that are given


def passing(dims: dict[str, int], classes: int) -> tuple[GraphBundle, tuple[Descriptor, ...]]:
    """A graph that passes features and logits on as they are."""
    sides = {**{f"{name}:mean": dim for name, dim in dims.items()}, "logits": classes}
    inputs = [helper.make_tensor_value_info(f"given {n}", TensorProto.FLOAT, ["batch", d]) for n, d in sides.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", dim]) for name, dim in sides.items()]
    nodes = [helper.make_node("Identity", [f"given {name}"], [name]) for name in sides]
    model = helper.make_model(helper.make_graph(nodes, "passing", inputs, outputs))
    model.ir_version = IR_VERSION
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", OPSET))
    taps = [Tap(name, name, (dim,), "NC", dim, False, 0.5) for name, dim in dims.items()]
    return GraphBundle.from_model_proto(model), tuple(Descriptor(t, "mean", f"{t.name}:mean", t.shape[0]) for t in taps)


def run(graph: GraphBundle, features: dict[str, np.ndarray], logits: np.ndarray) -> dict[str, np.ndarray]:
    given = {f"given {name}": values for name, values in features.items()}
    return GraphSession(*graph.serialise(), device="cpu").run(given | {"given logits": logits})


def draw(labels: np.ndarray, dims: dict[str, int], seed: int, classes: int = 8) -> dict[str, np.ndarray]:
    """Features of both sizes of number that networks have, far from zero."""
    rng, world = np.random.default_rng(seed), np.random.default_rng(99)
    found = {}
    for index, (name, dim) in enumerate(dims.items()):
        means, mixing = 3 * world.normal(size=(classes, dim)), world.normal(size=(dim, dim)) / np.sqrt(dim)
        noise = rng.normal(size=(len(labels), dim)) @ mixing
        found[f"{name}:mean"] = (10.0 ** (2 * index - 1) * (means[labels] + noise + 5.0)).astype(np.float32)
    return found


def logits_of(predicted: np.ndarray, classes: int) -> np.ndarray:
    logits = np.random.default_rng(7).normal(size=(len(predicted), classes)).astype(np.float32)
    logits[np.arange(len(predicted)), predicted] = np.linspace(4.0, 12.0, len(predicted))
    return logits


def sure(labels: np.ndarray) -> np.ndarray:
    return np.random.default_rng(len(labels)).normal(6.0, 3.0, len(labels))


# Images of each class. With some but too few a class shares a group, without images it has that or none.
REFERENCES = {
    "all have their own": [20, 20, 20],
    "classes without images": [0, 30, 20, 0, 20],
    "classes with few images": [30, 2, 30, 0, 4],
    "one class": [0, 60, 0],
    "one image a class": [1] * 50,
}
DIMS = {"narrow": 9, "wide": 300}


@cache
def fitted(name: str, family: Family, method: str) -> tuple[DeepFeatures, tuple[Descriptor, ...], GraphBundle]:
    counts, dims = REFERENCES[name], DIMS
    labels = np.repeat(np.arange(len(counts)), counts)
    plan = plan_calibration(labels, 0)
    assert plan.method == "cross-conformal"
    if method == "split":
        plan = CalibrationPlan("split", np.array([0, 1, 0, 2])[np.arange(len(labels)) % 4])
    features = draw(labels, dims, 0, max(8, len(counts)))
    detector = fit_deep_features(
        features, ImageClasses(labels, labels, len(counts), sure(labels)), replace(ALL_SCORES, family=family), plan, 0
    )
    bundle, descriptors = passing(dims, len(counts))
    return detector, descriptors, merge_head(bundle, detector, descriptors)


def fresh(counts: list[int], dims: dict[str, int] = DIMS) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Inputs of every class, and predictions of every class that have nothing to do with it."""
    number = len(counts)
    rng = np.random.default_rng(1)
    return draw(rng.integers(0, number, 40), dims, 2, max(8, number)), rng.permutation(np.arange(40) % number)


def assert_close(ours: np.ndarray, exact: np.ndarray) -> None:
    """To 1e-9 of each number, or of the deviances that a small difference was taken of."""
    np.testing.assert_allclose(ours, exact, rtol=1e-9, atol=1e-9 * float(np.median(np.abs(exact))))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["cross-conformal", "split"])
@pytest.mark.parametrize("name", REFERENCES)
def test_the_head_equals_the_densities(family: Family, method: str, name: str) -> None:
    counts = REFERENCES[name]
    detector, descriptors, graph = fitted(name, family, method)
    onnx.checker.check_model(graph.to_model_proto(), full_check=True)
    features, predicted = fresh(counts)
    got = run(graph, features, logits_of(predicted, len(counts)))
    assert set(got) == {"logits", "scores", "class_evidence", "units"}
    np.testing.assert_array_equal(got["units"], np.concatenate([features[d.key] for d in descriptors], axis=1))
    kinds = [kind for kind in SCORE_KINDS if kind != "mismatch" or detector.groups.count > 1]
    exact = detector.score(features, predicted, log_odds(logits_of(predicted, len(counts)).astype(float)))
    assert got["scores"].dtype == np.float64
    assert got["scores"].shape == exact.shape == (40, 1 if method == "split" else 5, 2 * len(kinds))
    for index, score in enumerate(detector.scores):
        assert np.isfinite(exact[:, :, index]).all()
        assert_close(got["scores"][:, :, index], exact[:, :, index])
        assert score.key == f"{descriptors[index // len(kinds)].key}:{kinds[index % len(kinds)]}"
    assert_close(got["class_evidence"], detector.class_evidence(features))
    unlike = got["class_evidence"] > UNLIKE / 2
    np.testing.assert_array_equal(unlike, np.tile(~detector.groups.own, (40, 1)))


def test_every_kind_of_group_is_covered() -> None:
    groups = {name: fitted(name, "tied", "cross-conformal")[0].groups for name in REFERENCES}
    assert groups["all have their own"].own.all()
    assert (groups["classes without images"].of_class == NO_GROUP).sum() == 2
    assert groups["classes with few images"].shared == 2
    assert (groups["one class"].count, groups["one image a class"].count) == (1, 1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", REFERENCES)
def test_features_that_overflow_are_seen(family: Family, name: str) -> None:
    """Such an input looks like no clean one, whichever feature it is; NumPy and the graph agree in what they decide."""
    counts = REFERENCES[name]
    detector, _, graph = fitted(name, family, "cross-conformal")
    features, predicted = fresh(counts)
    judge = detector.calibration.judge
    for value in (np.nan, np.inf, -np.inf, 3e38):
        one_each = np.where(np.eye(9, dtype=bool), np.float32(value), features["narrow:mean"][:9])
        given = features | {"narrow:mean": np.concatenate([one_each, features["narrow:mean"][9:]])}
        ours = judge(run(graph, given, logits_of(predicted, len(counts)))["scores"])
        with np.errstate(all="ignore"):
            theirs = judge(detector.score(given, predicted, log_odds(logits_of(predicted, len(counts)).astype(float))))
        np.testing.assert_array_equal(ours.p_values, theirs.p_values)
        if not np.isfinite(value) or family != "separate":  # without shrinkage clean scores may spread as wide
            np.testing.assert_array_equal(ours.p_values[:9], 1 / (detector.calibration.size + 1))


def test_constant_descriptors_are_not_scored() -> None:
    labels = np.arange(60) % 3
    features = draw(labels, DIMS, 0) | {"dead:mean": np.ones((60, 4), np.float32)}
    detector = fit_deep_features(
        features, ImageClasses(labels, labels, 3, sure(labels)), ALL_SCORES, plan_calibration(labels, 0), 0
    )
    bundle, descriptors = passing({**DIMS, "dead": 4}, 3)
    inputs, predicted = fresh([1, 1, 1])
    inputs["dead:mean"] = np.ones((40, 4), np.float32)
    got = run(merge_head(bundle, detector, descriptors), inputs, logits_of(predicted, 3))
    assert got["scores"].shape == (40, 5, 8)
    assert_close(got["scores"], detector.score(inputs, predicted, log_odds(logits_of(predicted, 3).astype(float))))
    with pytest.raises(ModelError, match="no layer of the network has features to score"):
        merge_head(bundle, detector, descriptors[-1:])


def test_outputs_to_keep() -> None:
    detector, descriptors, _ = fitted("all have their own", "tied", "split")
    bundle, _ = passing(DIMS, 3)
    graph = merge_head(bundle, detector, descriptors, ("wide:mean",))
    assert {o.name for o in graph.proto.graph.output} == {"logits", "wide:mean", "scores", "class_evidence", "units"}
    assert {o.name for o in bundle.proto.graph.output} == {"logits", "wide:mean", "narrow:mean"}


# The calibration behind it


def calibrated(folds: int, contradicts: Sequence[int] = ()) -> tuple[Calibration, np.random.Generator]:
    """Scores with and without bounds, one that does not enter, and ties."""
    rng = np.random.default_rng(0)
    scores = np.round(np.column_stack([rng.gamma(2.0, size=(150, 3)), rng.normal(size=(150, 2))]), 2) + 0.01
    standardiser = fit_standardiser(scores, np.array([0.0, 0.0, -1.0, np.nan, np.nan]))
    enters = np.array([True, True, True, True, False])
    fold = np.arange(150) ** 2 % folds if folds == 2 else np.arange(150) % folds
    return calibrate(scores, fold, standardiser, 2.0, enters, np.isin(np.arange(5), contradicts)), rng


@pytest.mark.parametrize("folds", [1, 2, 5])
@pytest.mark.parametrize("contradicts", [(), (2, 3), (0, 1, 2, 3, 4), (4,)])
def test_the_calibration_in_the_graph_equals_the_calibration(folds: int, contradicts: tuple[int, ...]) -> None:
    calibration, rng = calibrated(folds, contradicts)
    info = helper.make_tensor_value_info("scores", TensorProto.DOUBLE, ["batch", folds, 5])
    graph = helper.make_graph([], "calibration", [info], [])
    append_calibration(graph, "scores", calibration)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    inputs = np.round(np.concatenate([rng.gamma(3.0, size=(80, folds, 3)), rng.normal(size=(80, folds, 2))], axis=2), 2)
    inputs[0, 0, 0], inputs[1, -1, 1], inputs[2, 0, 2], inputs[3, 0, 3] = np.inf, np.nan, -np.inf, np.nan
    inputs[4, 0, 3], inputs[5, 0, 4], inputs[6], inputs[7, :, :2] = np.inf, np.nan, np.nan, 0.0
    session = GraphSession(*GraphBundle.from_model_proto(model).serialise(), device="cpu")
    got = session.run({"scores": inputs})
    judged = calibration.judge(inputs)
    np.testing.assert_array_equal(got["p_value"], judged.p_values)
    finite = np.isfinite(judged.combined)
    assert finite.sum() == 80 - 6
    np.testing.assert_allclose(got["combined_score"][finite], judged.combined[finite], rtol=1e-12)
    assert not np.isfinite(got["combined_score"][~finite]).any()


# The whole of it, behind a network


@pytest.mark.parametrize("family", FAMILIES)
def test_graph_scores_equal_the_densities(family: Family) -> None:
    """From pixels on. Descriptors are float32 in both, and what the network rounds is the same."""
    bundle = add_pixel_input(scnn_bundle(), SPEC)
    tapped, descriptors = add_descriptors(bundle, candidate_taps(bundle.proto))
    session = GraphSession(*tapped.serialise(), device="cpu")
    outputs = session.run({"pixels": pixels(300)})
    predicted = outputs["logits"].argmax(1).astype(np.int64)
    recipe = replace(ALL_SCORES, family=family)
    detector = fit_deep_features(
        {d.key: outputs[d.output] for d in descriptors},
        ImageClasses(predicted, predicted, 4, log_odds(outputs["logits"].astype(float))),
        recipe,
        plan_calibration(predicted, 0),
        seed=0,
    )
    merged = merge_head(tapped, detector, descriptors)
    onnx.checker.check_model(merged.to_model_proto(), full_check=True)
    images = pixels(65, seed=1)
    features = session.run({"pixels": images})
    got = GraphSession(*merged.serialise(), device="cpu").run({"pixels": images})
    by_key = {d.key: features[d.output] for d in descriptors}
    z = detector.calibration.standardiser
    exact = detector.score(by_key, features["logits"].argmax(1), log_odds(features["logits"].astype(float)))
    np.testing.assert_allclose(z(got["scores"]), z(exact), atol=1e-3)
    known = detector.groups.own
    np.testing.assert_allclose(got["class_evidence"][:, known], detector.class_evidence(by_key)[:, known], atol=1e-3)
    assert set(got) == {"logits", "scores", "class_evidence", "units"}
    np.testing.assert_array_equal(got["units"], np.concatenate([by_key[d.key] for d in descriptors], axis=1))


def test_result_does_not_depend_on_the_batch() -> None:
    merged, _ = _merged()
    session = GraphSession(*merged.serialise(), device="cpu")
    images = pixels(20, seed=2)
    together = session.run({"pixels": images})["scores"]
    apart = np.concatenate([session.run({"pixels": images[i : i + 1]})["scores"] for i in range(20)])
    np.testing.assert_allclose(together, apart, rtol=1e-5)


def _merged() -> tuple[GraphBundle, DeepFeatures]:
    bundle = add_pixel_input(scnn_bundle(), SPEC)
    tapped, descriptors = add_descriptors(bundle, candidate_taps(bundle.proto))
    outputs = GraphSession(*tapped.serialise(), device="cpu").run({"pixels": pixels(200)})
    predicted = outputs["logits"].argmax(1).astype(np.int64)
    detector = fit_deep_features(
        {d.key: outputs[d.output] for d in descriptors},
        ImageClasses(predicted, predicted, 4, log_odds(outputs["logits"].astype(float))),
        DEFAULT,
        plan_calibration(predicted, 0),
        seed=0,
    )
    return merge_head(tapped, detector, descriptors), detector
