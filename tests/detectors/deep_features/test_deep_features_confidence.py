"""Scores given the network's confidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.calibration.plan import plan_calibration
from detectors.calibration.standardise import fit_standardiser
from detectors.deep_features.confidence import ConfidenceSlopes, fit_confidence_slopes
from detectors.deep_features.detector import ImageClasses, fit_deep_features
from detectors.deep_features.recipe import DEFAULT, PAPER

NAN = float("nan")


def clean(seed: int, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """A squared distance, a difference of log-likelihoods, and one that rises with confidence."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.0, 6.0, count)
    noise = rng.normal(size=(count, 3))
    rising = 0.2 * confidence + noise[:, 2]
    return np.column_stack([np.exp(2 - 0.3 * confidence + noise[:, 0]), 5 - 2.0 * confidence + noise[:, 1], rising]), (
        confidence
    )


BOUNDS = np.array([0.0, NAN, NAN])


def test_slopes_against_a_straight_line() -> None:
    """Uncut: no clean score is five standard deviations out here."""
    scores, confidence = clean(0)
    fitted = fit_confidence_slopes(scores, BOUNDS, confidence)
    z = fit_standardiser(scores, BOUNDS)
    assert np.abs(z(scores)).max() < 5
    lines = [np.polyfit(confidence, values, 1)[0] for values in (np.log(scores[:, 0]), scores[:, 1], scores[:, 2])]
    np.testing.assert_allclose(fitted.slopes[:2], -np.array(lines[:2]), rtol=1e-9)
    assert lines[2] > 0
    assert fitted.slopes[2] == 0
    assert (fitted.low, fitted.centre, fitted.high) == (confidence.min(), confidence.mean(), confidence.max())


def test_confidence_explains_nothing_of_what_is_left() -> None:
    scores, confidence = clean(1)
    left = fit_confidence_slopes(scores, BOUNDS, confidence)(scores, confidence)
    for values in (np.log(left[:, 0]), left[:, 1]):
        assert abs(np.corrcoef(values, confidence)[0, 1]) < 1e-9
    np.testing.assert_array_equal(left[:, 2], scores[:, 2])


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.0, 3.0), st.booleans())
def test_the_surer_the_stranger(first: float, second: float, slope: float, bounded: bool) -> None:
    """And no surer than clean images count."""
    slopes = ConfidenceSlopes(np.array([slope]), 1.0, -2.0, 5.0, np.array([0.0 if bounded else NAN]))
    low, high = sorted((first, second))
    got = slopes(np.full((2, 3, 1), 7.0), np.array([low, high]))
    assert got.shape == (2, 3, 1)
    assert (got[0] <= got[1]).all()
    assert (slopes(np.full((1, 1), 7.0), np.array([1.0])) == 7.0).all()
    assert (slopes(np.full((1, 1), 7.0), np.array([1e9])) == slopes(np.full((1, 1), 7.0), np.array([5.0]))).all()
    assert (not bounded) or (got > 0).all()


@pytest.mark.parametrize(
    "confidence", [np.full(50, 3.7), np.full(50, np.inf), np.full(50, 3.7) + 1e-13 * np.arange(50)]
)
def test_confidence_that_does_not_vary_explains_nothing(confidence: np.ndarray) -> None:
    scores = np.random.default_rng(0).gamma(2.0, size=(50, 2))
    fitted = fit_confidence_slopes(scores, np.array([0.0, NAN]), confidence)
    assert fitted.slopes.tolist() == [0.0, 0.0]
    np.testing.assert_array_equal(fitted(scores, confidence), scores)


def test_wrong_arguments() -> None:
    scores, confidence = clean(0)
    fitted = fit_confidence_slopes(scores, BOUNDS, confidence)
    for call, message in (
        (lambda: fitted(scores[:, :2], confidence), "a confidence of each input"),
        (lambda: fitted(scores, confidence[:3]), "a confidence of each input"),
        (lambda: fit_confidence_slopes(scores, BOUNDS, confidence[:3]), "confidences"),
        (lambda: replace(fitted, slopes=-np.ones(3)), "slopes"),
        (lambda: replace(fitted, slopes=np.ones(2)), "slopes"),
        (lambda: replace(fitted, low=9e9), "low <= centre <= high"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_only_the_default_recipe_looks_at_confidence() -> None:
    rng, labels = np.random.default_rng(0), np.arange(120) % 3
    values = rng.normal(4.0 * labels[:, None], size=(120, 4)).astype(np.float32)
    surer = ImageClasses(labels, labels, 3, rng.normal(size=120))
    plan = plan_calibration(labels, 0)
    assert fit_deep_features({"a:mean": values}, surer, DEFAULT, plan, 0).confidence is not None
    paper = fit_deep_features({"a:mean": values}, surer, PAPER, plan, 0)
    assert paper.confidence is None
    first, second = (paper.score({"a:mean": values}, labels, np.full(120, m)) for m in (0.0, 9.0))
    np.testing.assert_array_equal(first, second)


def test_an_image_that_the_network_is_too_sure_of_stands_out() -> None:
    """The same features: usual for an unsure prediction, strange for a sure one."""
    rng, labels = np.random.default_rng(0), np.arange(400) % 2
    distance = rng.gamma(2.0, 1.0, 400)
    values = np.column_stack([4.0 * labels + distance * (1 - 2 * labels), rng.normal(size=400)]).astype(np.float32)
    confidence = 8.0 - 2.0 * distance
    plan = plan_calibration(labels, 0)
    fitted = fit_deep_features({"a:mean": values}, ImageClasses(labels, labels, 2, confidence), DEFAULT, plan, 0)
    odd = {"a:mean": np.array([[4.0, 0.0]] * 2, np.float32)}
    p = fitted.calibration.judge(fitted.score(odd, np.zeros(2, np.int64), np.array([0.0, 7.5]))).p_values
    assert p[0] > 0.03
    assert p[1] < 0.01


def test_one_density_for_all_classes_has_no_mismatch() -> None:
    labels = np.arange(60)
    values = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    seen = ImageClasses(labels, labels, 60, np.ones(60))
    fitted = fit_deep_features({"a:mean": values}, seen, DEFAULT, plan_calibration(labels, 0), 0)
    assert [score.kind for score in fitted.scores] == ["likelihood", "reconstruction"]
    with pytest.raises(ValueError, match="use another score"):
        fit_deep_features(
            {"a:mean": values}, seen, replace(DEFAULT, kinds=("mismatch",)), plan_calibration(labels, 0), 0
        )
