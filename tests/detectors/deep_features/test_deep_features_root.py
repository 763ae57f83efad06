"""Densities of square roots are those of features whose roots were taken before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from detectors.calibration.plan import plan_calibration
from detectors.deep_features.detector import ImageClasses, fit_deep_features
from detectors.deep_features.recipe import DEFAULT, PAPER
from detectors.deep_features.root import is_rectified, signed_root

CLASSES = np.arange(120) % 3


def rectified(seed: int, images: int = 120, channels: int = 6) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.maximum(generator.gamma(0.5, 2.0, (images, channels)) - 0.05, 0).astype(np.float32)


@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e12, 1e12)))
def test_a_root_squared_is_the_value(values: np.ndarray) -> None:
    root = signed_root(values)
    np.testing.assert_allclose(root * np.abs(root), values, rtol=1e-12)
    assert (signed_root(-values) == -root).all()


def test_what_is_rectified(tmp_path) -> None:
    values = np.zeros((5000, 2), np.float32)
    assert is_rectified(values)
    values[-1, 1] = -1e-30
    path = tmp_path / "features.npy"
    np.save(path, values)
    assert not is_rectified(np.load(path, mmap_mode="r"))
    assert not is_rectified(np.full((1, 1), np.nan, np.float32))


@pytest.mark.parametrize("family", ["tied-shrunk", "separate-shrunk", "mixture"])
@pytest.mark.parametrize("channels", [6, 150])
def test_scores_are_those_of_roots_taken_before(family, channels) -> None:
    values, new = rectified(0, channels=channels), rectified(1, 40, channels)
    recipe = replace(DEFAULT, family=family)
    plan, classes = plan_calibration(CLASSES, 0), ImageClasses(CLASSES, CLASSES, 3)
    by_itself = fit_deep_features({"a:mean": values}, classes, recipe, plan, 0)
    before = fit_deep_features(
        {"a:mean": np.sqrt(values.astype(np.float64)).astype(np.float32)},
        classes,
        replace(recipe, roots=False),
        plan,
        0,
    )
    assert all(fold.root for fold in by_itself.densities["a:mean"])
    assert not any(fold.root for fold in before.densities["a:mean"])
    roots = np.sqrt(new.astype(np.float64)).astype(np.float32)
    predicted = np.arange(40) % 3
    np.testing.assert_allclose(
        by_itself.score({"a:mean": new}, predicted), before.score({"a:mean": roots}, predicted), rtol=1e-3
    )


def test_features_of_both_signs_and_the_papers_recipe_stay_as_they_are() -> None:
    plan, classes = plan_calibration(CLASSES, 0), ImageClasses(CLASSES, CLASSES, 3)
    signed = rectified(0) - 0.5
    fitted = fit_deep_features({"a:mean": signed, "b:mean": rectified(1)}, classes, DEFAULT, plan, 0)
    assert [folds[0].root for folds in fitted.densities.values()] == [False, True]
    paper = fit_deep_features({"b:mean": rectified(1)}, classes, PAPER, plan, 0)
    assert not paper.densities["b:mean"][0].root


def test_roots_bring_heavy_tails_nearer_to_a_gaussian() -> None:
    values = rectified(3, 4000, 1)[:, 0]
    assert stats.kurtosis(np.sqrt(values)) < stats.kurtosis(values) / 4


@pytest.mark.parametrize(
    ("taps", "count", "first"),
    [
        ("late", 13, 8),
        ("late", 10, 6),
        ("late", 9, 5),
        ("late", 4, 0),
        ("late", 1, 0),
        ("late", 100, 60),
        ("all", 9, 0),
        ("deepest", 9, 8),
    ],
)
def test_which_taps_are_looked_at(taps, count, first) -> None:
    assert replace(DEFAULT, taps=taps).first_tap(count) == first


def test_no_tap_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one tap"):
        DEFAULT.first_tap(0)
