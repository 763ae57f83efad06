"""Centres and covariance of clean images, against scikit-learn and against leaving images out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from detectors.shared_units.clean_features import LARGEST, fit_clean_features
from detectors.shared_units.whitening import PRIOR, fit_class_whitening


def sample(images: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(images)
    mixing = rng.normal(size=(features, features)) / np.sqrt(features)
    return rng.normal(size=(images, features)) @ mixing, rng.integers(0, 3, images)


@pytest.mark.parametrize(("images", "features"), [(300, 20), (40, 120), (20, 20)])
def test_the_covariance_is_ledoits_and_wolfs(images: int, features: int) -> None:
    """Few images as many: by scalar products of images, and of features."""
    values, classes = sample(images, features)
    whitening = fit_class_whitening(values, classes, 3)
    expected = ledoit_wolf(whitening.off, assume_centered=True)[0]
    direction = np.random.default_rng(1).normal(size=features)
    np.testing.assert_allclose(expected @ whitening.solve(direction), direction, rtol=1e-8, atol=1e-8)
    hat = whitening.off @ np.linalg.solve(expected, whitening.off.T) * whitening.weight
    np.testing.assert_allclose(whitening.leverages(), np.diag(hat), rtol=1e-8)
    assert 0 < whitening.leverages().min() <= whitening.leverages().max() < 1


@pytest.mark.parametrize(("images", "features"), [(60, 10), (30, 80)])
def test_leverages_tell_how_far_an_image_would_go_without_itself(images: int, features: int) -> None:
    values, classes = sample(images, features)
    whitening = fit_class_whitening(values, classes, 3)
    direction = np.random.default_rng(1).normal(size=features)
    along = whitening.off @ whitening.solve(direction) / (1 - whitening.leverages())
    identity = whitening.floor * np.eye(features)
    for left_out in range(5):
        others = np.delete(whitening.off, left_out, axis=0)
        without = np.linalg.solve(identity + whitening.weight * others.T @ others, direction)
        assert along[left_out] == pytest.approx(whitening.off[left_out] @ without)


def test_centres_lie_between_a_classs_own_mean_and_that_of_all() -> None:
    values, classes = sample(50, 4)
    classes[:5] = -1
    whitening = fit_class_whitening(values, classes, 5)
    own = values[classes == 1]
    expected = (own.mean(0) * len(own) + PRIOR * values.mean(0)) / (len(own) + PRIOR)
    np.testing.assert_allclose(whitening.centres[1], expected)
    for empty in (3, 4, -1):
        np.testing.assert_allclose(whitening.centres[empty], values.mean(0))
    np.testing.assert_allclose(whitening.off[:5], values[:5] - values.mean(0))


def test_images_that_are_all_alike_have_a_covariance() -> None:
    whitening = fit_class_whitening(np.ones((6, 3)), np.zeros(6, int), 1)
    assert np.isfinite(whitening.solve(np.ones(3))).all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,)])
def test_no_image_or_feature_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="are needed"):
        fit_class_whitening(np.zeros(shape), np.zeros(shape[:1], int), 1)


def test_features_are_standardised_as_those_of_clean_images() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.normal(3, 1e-4, (5000, 2)).astype(np.float32), rng.normal(0, 1e6, (5000, 1)).astype(np.float32))
    other = np.concatenate([other, np.full((5000, 1), 7, np.float32)], axis=1)
    kept = fit_clean_features([one, other], np.zeros(5000, int), 1)
    np.testing.assert_allclose(kept.features[:, :3].astype(float).std(0), 1, rtol=1e-2)
    assert kept.scale[3] == 1, "a constant column"
    units = np.concatenate([rng.normal(size=(5000, 4)).astype(np.float32), one, other], axis=1)
    np.testing.assert_array_equal(kept.standardised(units), kept.features)
    wild = kept.standardised(np.array([[np.inf, -np.inf, np.nan, 3e38]], np.float32))
    assert wild.dtype == np.float16
    assert np.isfinite(wild).all()
    assert float(wild[0, 0]) == -float(wild[0, 1]) == np.float16(LARGEST)


def test_features_that_do_not_fit_together_are_refused() -> None:
    values = np.zeros((3, 2), np.float32)
    for features, predicted in (
        ([], np.zeros(3, int)),
        ([values[:, :0]], np.zeros(3, int)),
        ([values], np.zeros(2, int)),
    ):
        with pytest.raises(ValueError, match="needed"):
            fit_clean_features(features, predicted, 1)
    with pytest.raises(ValueError, match="classes 0 to 0"):
        fit_clean_features([values], np.array([0, 1, 0]), 1)
    with pytest.raises(ValueError, match="finite"):
        fit_clean_features([np.full((3, 2), np.nan, np.float32)], np.zeros(3, int), 1)
    with pytest.raises(ValueError, match="or more"):
        fit_clean_features([values], np.zeros(3, int), 1).standardised(values[:, :1])
