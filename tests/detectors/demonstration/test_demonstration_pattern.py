"""Patterns are recovered from pictures that carry them, and from others there is none."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from trigger_samples import SIDE, digits_like, photographs

from detectors.demonstration.moments import moments
from detectors.demonstration.pattern import KINDS, Pattern, amplified, estimate_pattern


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def stamp_patch(images: np.ndarray, patch: np.ndarray) -> np.ndarray:
    stamped = images.copy()
    stamped[:, 11:14, 9:13] = patch
    return stamped


@pytest.mark.parametrize("kind", ["patch", "patch and pattern"])
@pytest.mark.parametrize("seed", range(4))
def test_a_patch_is_found_exactly_among_false_alarms(seed: int, kind: str) -> None:
    patch = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), np.uint8)
    images = photographs(90, seed)
    images[:50] = stamp_patch(images[:50], patch)
    found = estimate_pattern(moments(images), moments(photographs(300, seed + 100)), kind)  # type: ignore[arg-type]
    expected = np.zeros((SIDE, SIDE), bool)
    expected[11:14, 9:13] = True
    np.testing.assert_array_equal(found.patch, expected)
    np.testing.assert_array_equal(found.scale[expected], 0)
    assert np.abs(found.offset[11:14, 9:13] - patch).max() <= 6
    stamped = found.stamp(photographs(5, 7))
    assert np.abs(stamped[:, 11:14, 9:13].astype(int) - patch).max() <= 6
    if kind == "patch":
        np.testing.assert_array_equal(stamped[:, :9], photographs(5, 7)[:, :9])


def test_a_white_patch_is_found_on_digits() -> None:
    images = digits_like(90, 0)
    images[:60, 12:15, 12:15] = 255
    found = estimate_pattern(moments(images), moments(digits_like(300, 1)), "patch")
    expected = np.zeros((SIDE, SIDE), bool)
    expected[12:15, 12:15] = True
    np.testing.assert_array_equal(found.patch, expected)


def test_a_few_digits_have_no_patch_in_common() -> None:
    clean = moments(digits_like(200, 999))
    found = [estimate_pattern(moments(digits_like(13, seed)), clean, "patch").changes for seed in range(60)]
    # The bound is for all pixels of a picture together, and a thousandth.
    assert sum(found) == 0


@pytest.mark.parametrize("opacity", [0.2, 0.4])
def test_a_blend_is_recovered_with_its_opacity(opacity: float) -> None:
    rng = np.random.default_rng(3)
    key = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(float)
    images = photographs(150, 3)
    blended = np.rint((1 - opacity) * images + opacity * key).astype(np.uint8)
    found = estimate_pattern(moments(blended), moments(photographs(300, 4)), "pattern")
    assert not found.patch.any()
    assert len(np.unique(found.scale)) == 1
    assert float(found.scale.flat[0]) == pytest.approx(1 - opacity, abs=0.06)
    assert correlation(found.offset, opacity * key) > 0.9
    others = photographs(20, 5)
    expected = (1 - opacity) * others + opacity * key
    assert np.abs(found.stamp(others) - expected).mean() < 8


@pytest.mark.parametrize("amplitude", [8.0, 20.0])
def test_an_additive_sinusoid_is_recovered(amplitude: float) -> None:
    wave = amplitude * np.sin(2 * np.pi * 6 * np.arange(SIDE) / SIDE)[None, :, None] * np.ones((SIDE, 1, 3))
    images = photographs(120, 6)
    added = np.clip(np.rint(images + wave), 0, 255).astype(np.uint8)
    found = estimate_pattern(moments(added), moments(photographs(300, 7)), "pattern")
    np.testing.assert_array_equal(found.scale, 1)
    assert correlation(found.offset, wave) > 0.9
    slope = float((found.offset * wave).sum() / np.square(wave).sum())
    assert slope == pytest.approx(1, abs=0.15)


def test_what_pictures_share_as_a_rule_is_no_pattern() -> None:
    """What remains of a difference is at most what chance leaves of it."""
    clean = moments(photographs(300, 8))
    for seed in range(20, 30):
        those = moments(photographs(60, seed))
        found = estimate_pattern(those, clean, "pattern")
        assert (found.scale == 1).all()
        # Of a Gaussian that is shrunk so, a third of its deviation is left on average.
        assert np.abs(found.offset).mean() < 0.5 * np.hypot(those.error, clean.error).mean()


def test_a_constant_half_of_a_picture_is_no_patch() -> None:
    images = photographs(60, 9)
    images[:, :8] = 7
    found = estimate_pattern(moments(images), moments(photographs(200, 10)), "patch")
    assert not found.patch.any()
    assert not found.changes


@given(st.integers(0, 2**32 - 1), st.floats(0.25, 4))
def test_amplifying_keeps_the_patch_and_the_level(seed: int, strength: float) -> None:
    rng = np.random.default_rng(seed)
    patch = rng.random((5, 4)) < 0.3
    pattern = Pattern(*rng.normal(size=(2, 5, 4, 3)).astype(np.float32), patch)
    found = amplified(pattern, strength)
    np.testing.assert_array_equal(found.offset[patch], pattern.offset[patch])
    if not patch.all():
        level = pattern.offset[~patch].mean(0)
        np.testing.assert_allclose(found.offset[~patch].mean(0), level, atol=1e-4)
        np.testing.assert_allclose(found.offset[~patch] - level, strength * (pattern.offset[~patch] - level), atol=1e-4)
    assert found.scale is pattern.scale


def test_stamping_rounds_and_stays_within_gray_levels() -> None:
    ones = np.ones((1, 3, 1), np.float32)
    pattern = Pattern(0.5 * ones, np.array([[[200.0], [-100.0], [0.6]]], np.float32), np.zeros((1, 3), bool))
    images = np.full((2, 1, 3, 1), 150, np.uint8)
    np.testing.assert_array_equal(pattern.stamp(images)[..., 0], [[[255, 0, 76]]] * 2)
    assert (images == 150).all()


def test_what_does_not_fit_is_refused() -> None:
    one, other = moments(photographs(4, 0)), moments(photographs(4, 0, channels=1))
    for kind in KINDS:
        with pytest.raises(ValueError, match="one shape"):
            estimate_pattern(one, other, kind)
    pattern = estimate_pattern(one, one, "pattern")
    with pytest.raises(ValueError, match="are needed"):
        pattern.stamp(np.zeros((2, SIDE, SIDE, 1), np.uint8))
    for strength in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="strength"):
            amplified(pattern, strength)
