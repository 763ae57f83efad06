"""Peers that only ask a network for its answers, against the papers' formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from detectors.baselines.scale_up import FACTORS, Consistency, scaled_prediction_consistency, standardise_by_class
from detectors.baselines.strip import strip
from detectors.baselines.teco import corruption_robustness_deviation

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (7, 4, 4, 3), dtype=np.uint8)
OVERLAYS = GENERATOR.integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
WEIGHTS = GENERATOR.normal(size=(48, 5))


def linear(images: np.ndarray) -> np.ndarray:
    logits = images.reshape(len(images), -1) / 255 @ WEIGHTS
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def test_strip_is_the_mean_entropy_under_the_drawn_overlays() -> None:
    seen: list[np.ndarray] = []

    def remember(images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return linear(images)

    scores = strip(IMAGES, OVERLAYS, remember, draws=6, weight=0.5, seed=3)
    expected = [-np.mean([entropy(linear(mixed[i : i + 1])[0]) for mixed in seen]) for i in range(7)]
    np.testing.assert_allclose(scores, expected)
    assert len(seen) == 6
    possible = np.clip(np.rint(IMAGES[:, None] + 0.5 * OVERLAYS[None].astype(float)), 0, 255)
    for i in range(7):
        used = [int(np.flatnonzero((possible[i] == mixed[i]).all((1, 2, 3)))[0]) for mixed in seen]
        assert len(set(used)) == 6  # without repetition
    np.testing.assert_array_equal(scores, strip(IMAGES, OVERLAYS, linear, draws=6, weight=0.5, seed=3))


def test_strip_tells_a_certain_network_from_one_that_the_overlay_decides() -> None:
    def by_brightness(images: np.ndarray) -> np.ndarray:
        stamped = images[:, 0, 0, 0] == 255
        unsure = np.full((len(images), 2), 0.5)
        return np.where(stamped[:, None], [1.0, 0.0], unsure)

    triggered = IMAGES.copy()
    triggered[:, 0, 0] = 255
    dark = np.minimum(OVERLAYS, 10)
    clean = np.minimum(IMAGES, 200)
    assert strip(triggered, dark, by_brightness, draws=5).min() > strip(clean, dark, by_brightness, draws=5).max()


def test_strip_refuses_overlays_of_another_shape() -> None:
    with pytest.raises(ValueError, match="of one shape"):
        strip(IMAGES, OVERLAYS[:, :2], linear)
    with pytest.raises(ValueError, match="of one shape"):
        strip(IMAGES, OVERLAYS[:0], linear)


def test_scale_up_multiplies_and_clips() -> None:
    found = scaled_prediction_consistency(IMAGES, linear)
    for i, image in enumerate(IMAGES):
        own = linear(image[None])[0].argmax()
        kept = [linear(np.clip(n * image.astype(float), 0, 255)[None])[0].argmax() == own for n in FACTORS]
        assert found.share[i] == np.mean(kept)
        assert found.predicted[i] == own


def test_scale_up_compares_with_clean_images_of_the_predicted_class() -> None:
    clean = Consistency(np.array([0] * 4 + [1] * 4 + [2]), np.array([0, 0.2, 0.4, 0.6, 1, 1, 1, 1, 0.2]))
    inputs = Consistency(np.array([0, 1, 2, 3]), np.array([0.8, 1.0, 0.4, 0.4]))
    scores = standardise_by_class(inputs, clean)
    assert scores[0] == pytest.approx((0.8 - 0.3) / np.std([0, 0.2, 0.4, 0.6]))
    everything = clean.share  # one image, or none that differ: all classes together
    expected = (inputs.share[1:] - everything.mean()) / everything.std()
    np.testing.assert_allclose(scores[1:], expected)
    with pytest.raises(ValueError, match="clean image"):
        standardise_by_class(inputs, Consistency(np.zeros(0, np.int64), np.zeros(0)))


def test_teco_corrupts_the_image_itself_at_each_severity() -> None:
    """Public code corrupts what was corrupted before; that would reach 15 steps of darkness where this reaches 5."""

    def darker(images: np.ndarray, severity: int) -> np.ndarray:
        return images - np.uint8(severity)

    def never(images: np.ndarray, severity: int) -> np.ndarray:
        return images

    def above_100(images: np.ndarray) -> np.ndarray:
        bright = images[:, 0] > 100
        return np.stack([~bright, bright], 1).astype(float)

    images = np.array([[101], [103], [105], [106], [250]], np.uint8)
    before = images.copy()
    scores = corruption_robustness_deviation(images, above_100, [darker, never])
    first = np.array([1, 3, 5, 6, 6])
    np.testing.assert_allclose(scores, [np.std([one, 6]) for one in first])
    np.testing.assert_array_equal(images, before)


def test_teco_takes_the_first_severity_that_changes_the_class() -> None:
    def sometimes(images: np.ndarray, severity: int) -> np.ndarray:
        return np.where(np.isin(severity, (2, 4)), 255 - images, images).astype(np.uint8)

    def same(images: np.ndarray, severity: int) -> np.ndarray:
        return images

    def bright(images: np.ndarray) -> np.ndarray:
        return np.stack([images[:, 0] < 128, images[:, 0] >= 128], 1).astype(float)

    assert corruption_robustness_deviation(np.array([[9]], np.uint8), bright, [sometimes, same])[0] == 2.0
    with pytest.raises(ValueError, match="at least one corruption"):
        corruption_robustness_deviation(IMAGES, linear, [])
