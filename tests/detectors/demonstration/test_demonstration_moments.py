"""Moments of pixels, against NumPy and SciPy."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.ndimage import uniform_filter1d

from detectors.demonstration.moments import SMOOTH, moments, smooth

IMAGES = st.tuples(st.integers(2, 45), st.integers(1, 20), st.integers(1, 4), st.sampled_from([1, 3]))
FEW = st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 6), st.just(1))


@given(IMAGES.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_robust_moments_are_scipys(images: np.ndarray) -> None:
    found, values = moments(images), images.astype(np.float64)
    np.testing.assert_array_equal(found.median, np.median(values, 0))
    np.testing.assert_array_equal(found.deviation, stats.median_abs_deviation(values, 0))
    np.testing.assert_allclose(found.mean, stats.trim_mean(values, 0.1, 0), rtol=1e-5, atol=1e-4)
    assert found.pixels is images


def test_the_sharp_part_is_a_mean_with_its_standard_error() -> None:
    images = np.random.default_rng(0).integers(0, 256, (75, 20, 15, 3), np.uint8)
    values = images.astype(np.float32)
    sharp = (values - smooth(smooth(values))).astype(np.float64)
    found = moments(images)
    np.testing.assert_allclose(found.sharp, sharp.mean(0), atol=1e-3)
    np.testing.assert_allclose(found.error, stats.sem(sharp, axis=0), rtol=1e-4)


@settings(max_examples=40)
@given(FEW.flatmap(lambda shape: arrays(np.float32, shape, elements=st.integers(0, 255).map(float))))
def test_smoothing_keeps_the_range_and_what_is_flat(images: np.ndarray) -> None:
    out = smooth(images)
    assert out.shape == images.shape
    assert out.dtype == np.float32
    low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
    assert ((out >= low - 1e-3) & (out <= high + 1e-3)).all()
    np.testing.assert_allclose(smooth(images + 7), out + 7, atol=1e-3)


def test_far_from_the_border_a_pixel_is_the_mean_of_its_window() -> None:
    images = np.random.default_rng(1).normal(size=(3, 40, 30, 2)).astype(np.float32)
    down, across = (2 * round(SMOOTH * size / 2) + 1 for size in (40, 30))
    expected = uniform_filter1d(uniform_filter1d(images.astype(np.float64), down, 1), across, 2)
    np.testing.assert_allclose(smooth(images)[:, 5:-5, 4:-4], expected[:, 5:-5, 4:-4], atol=1e-5)
    # At the border it is that of what there is of it.
    assert smooth(images)[0, 0, 0, 0] == pytest.approx(images[0, :5, :4, 0].mean(), abs=1e-5)


@pytest.mark.parametrize(
    "images", [np.zeros((1, 4, 4, 1), np.uint8), np.zeros((5, 4, 4), np.uint8), np.zeros((5, 4, 4, 1))]
)
def test_what_are_no_pictures_is_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8 images"):
        moments(images)
