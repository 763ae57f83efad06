"""The merged graph in ONNX Runtime against the densities in float64; the exported graph against the calibration."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
import torch
from detectors.deep_features.head import evaluate

from detectors.calibration.judge import calibrate
from detectors.calibration.plan import plan_calibration
from detectors.calibration.standardise import fit_standardiser
from detectors.deep_features.density import FAMILIES, Family
from detectors.deep_features.detector import DeepFeatures, fit_deep_features
from detectors.deep_features.recipe import DEFAULT
from detectors.deep_features.scores import SCORE_KINDS
from scanner.graph.bundle import GraphBundle
from scanner.graph.head import build_head, merge_head
from scanner.graph.pool import add_descriptors, add_pixel_input
from scanner.graph.session import GraphSession
from scanner.graph.taps import candidate_taps
from scanner.inputs.preprocess import PreprocessSpec
from scanner.models.architectures.scnn import SCNN

SPEC = PreprocessSpec((12, 12), 1, None, "bilinear", False, 1 / 255, (0.5,), (0.25,))


def scnn_bundle() -> GraphBundle:
    torch.manual_seed(0)
    model = SCNN(num_classes=4, image_size=12).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (torch.zeros(2, 1, 12, 12),),
            dynamo=True,
            opset_version=20,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    return GraphBundle.from_model_proto(program.model_proto)


def pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 12, 12, 1), dtype=np.uint8)


@pytest.mark.parametrize("family", FAMILIES)
def test_graph_scores_equal_float64(family: Family) -> None:
    bundle = add_pixel_input(scnn_bundle(), SPEC)
    tapped, descriptors = add_descriptors(bundle, candidate_taps(bundle.proto))
    session = GraphSession(*tapped.serialise(), device="cpu")
    images = pixels(300)
    outputs = session.run({"pixels": images})
    predicted = outputs["logits"].argmax(1).astype(np.int64)
    recipe = type(DEFAULT)("test", DEFAULT.poolings, family, SCORE_KINDS, "all")
    detector = fit_deep_features(
        {d.key: outputs[d.output] for d in descriptors},
        predicted,
        predicted,
        4,
        recipe,
        plan_calibration(predicted, 0),
        seed=0,
    )
    head = build_head(detector)
    merged = merge_head(tapped, head, descriptors)
    onnx.checker.check_model(merged.to_model_proto(), full_check=True)
    fresh = pixels(65, seed=1)
    features = session.run({"pixels": fresh})
    got = GraphSession(*merged.serialise(), device="cpu").run({"pixels": fresh})
    exact, evidence = evaluate(
        build_head(detector),
        [features[d.output].astype(np.float64) for d in descriptors],
        features["logits"].astype(np.float64),
    )
    z = detector.calibration.standardiser
    np.testing.assert_allclose(z(got["scores"].astype(np.float64)), z(exact), atol=5e-3)
    known = np.unique(predicted)
    np.testing.assert_allclose(got["class_evidence"][:, known], evidence[:, known], atol=5e-3)
    assert set(got) == {"logits", "scores", "class_evidence"}


def test_result_does_not_depend_on_the_batch() -> None:
    merged, _ = _merged()
    session = GraphSession(*merged.serialise(), device="cpu")
    images = pixels(20, seed=2)
    together = session.run({"pixels": images})["scores"]
    apart = np.concatenate([session.run({"pixels": images[i : i + 1]})["scores"] for i in range(20)])
    np.testing.assert_allclose(together, apart, rtol=1e-5)


def test_calibration_head_equals_the_calibration() -> None:
    from detectors.calibration.head import CalibrationHead

    rng = np.random.default_rng(0)
    scores = np.column_stack([rng.gamma(2.0, size=(150, 3)), rng.normal(size=150)])
    calibration = calibrate(scores, fit_standardiser(scores, np.array([0.0, 0.0, -1.0, np.nan])), 2.0)
    fresh = np.column_stack([rng.gamma(3.0, size=(50, 3)), rng.normal(size=50)]).astype(np.float32)
    fresh[0, 0], fresh[1, 1] = np.inf, np.nan
    combined, p_value = CalibrationHead(calibration)(torch.from_numpy(fresh))
    judged = calibration.judge(fresh.astype(np.float64))
    np.testing.assert_allclose(p_value.numpy(), judged.p_values)
    np.testing.assert_allclose(combined.numpy()[2:], judged.combined[2:], rtol=1e-12)


def _merged() -> tuple[GraphBundle, DeepFeatures]:
    bundle = add_pixel_input(scnn_bundle(), SPEC)
    tapped, descriptors = add_descriptors(bundle, candidate_taps(bundle.proto))
    outputs = GraphSession(*tapped.serialise(), device="cpu").run({"pixels": pixels(200)})
    predicted = outputs["logits"].argmax(1).astype(np.int64)
    detector = fit_deep_features(
        {d.key: outputs[d.output] for d in descriptors},
        predicted,
        predicted,
        4,
        DEFAULT,
        plan_calibration(predicted, 0),
        seed=0,
    )
    return merge_head(tapped, build_head(detector), descriptors), detector
