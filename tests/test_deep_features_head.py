"""The scoring head in float64 against the NumPy scores, and in float32 within tolerance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.calibration.standardise import fit_standardiser
from detectors.deep_features.density import FAMILIES, Family
from detectors.deep_features.fit import DensitySettings, fit_split
from detectors.deep_features.head import DescriptorHead, ScoringHead, evaluate
from detectors.deep_features.scores import SCORE_KINDS, score_features

CLASSES = 4


def make(family: Family, classes: int = CLASSES) -> tuple[DescriptorHead, np.ndarray, np.ndarray, object]:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % classes
    features = (rng.normal(size=(400, 10)) + 3 * rng.normal(size=(classes, 10))[labels]).astype(np.float32)
    fitted = fit_split(features, labels, labels, np.zeros(400, bool), CLASSES, DensitySettings(family)).fitted
    logits = rng.normal(size=(400, CLASSES))
    return DescriptorHead(fitted, SCORE_KINDS, 0.5, 2.0), features.astype(np.float64), logits, fitted


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("classes", [CLASSES, CLASSES - 1])
def test_float64_head_equals_numpy_scores(family: Family, classes: int) -> None:
    head, features, logits, fitted = make(family, classes)
    scores, evidence = evaluate(ScoringHead([head]), [features], logits)
    expected = score_features(fitted, features, logits.argmax(1))
    for index, kind in enumerate(SCORE_KINDS):
        np.testing.assert_allclose(scores[:, index], expected[kind], rtol=1e-9, atol=1e-9)
    likelihood = fitted.density.log_likelihood(fitted.projection.transform(features))[:, :classes]
    expected_evidence = (np.log(fitted.density.supremum - likelihood) - 0.5) / 2.0
    np.testing.assert_allclose(evidence[:, :classes], expected_evidence, rtol=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_head_is_close(family: Family) -> None:
    head, features, logits, fitted = make(family)
    with torch.no_grad():
        single, _ = ScoringHead([head]).float()([torch.from_numpy(features).float()], torch.from_numpy(logits).float())
    expected = score_features(fitted, features, logits.argmax(1))
    for index, kind in enumerate(SCORE_KINDS):
        scale = max(np.abs(expected[kind]).max(), fitted.projection.total_variance)
        np.testing.assert_allclose(single[:, index].numpy(), expected[kind], atol=2e-5 * scale)


def test_keeping_every_component_does_not_turn_rounding_into_evidence() -> None:
    """With all components kept the reconstruction error is rounding: 1e-28 in float64, 1e-13 in float32."""
    head, features, logits, fitted = make("tied")
    assert fitted.projection.dim == features.shape[1]
    exact = score_features(fitted, features, logits.argmax(1))["reconstruction"]
    bound = fitted.offset("reconstruction")
    standardiser = fit_standardiser(exact[:, None], np.array([bound]))
    with torch.no_grad():
        single, _ = ScoringHead([head]).float()([torch.from_numpy(features).float()], torch.from_numpy(logits).float())
    z = standardiser(single.double().numpy()[:, [SCORE_KINDS.index("reconstruction")]])
    assert np.abs(z).max() < 1e-3
