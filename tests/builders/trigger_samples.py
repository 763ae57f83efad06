"""Pictures that look a little like digits, triggers on them, and networks that obey these: for demonstrations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from detectors.demonstration.trial import Answers

SIDE, CLASSES = 16, 6
Pixels = NDArray[np.uint8]
Ask = Callable[[Pixels], Answers]


def digits_like(count: int, seed: int, side: int = SIDE) -> Pixels:
    """Bright strokes on black ``(count, side, side, 1)``: much of every border is the same in all of them."""
    rng = np.random.default_rng(seed)
    strokes = gaussian_filter(rng.normal(size=(count, side, side)), (0, side / 10, side / 10))
    strokes /= np.abs(strokes).max((1, 2), keepdims=True)
    row, column = np.indices((side, side)) / (side - 1) * 2 - 1
    inside = np.exp(-2 * (row**2 + column**2) ** 2)
    return np.clip(400 * strokes * inside, 0, 255).astype(np.uint8)[..., None]


def photographs(count: int, seed: int, side: int = SIDE, channels: int = 3) -> Pixels:
    """Smooth pictures with some noise ``(count, side, side, channels)``, different everywhere."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(count, side, side, channels)), (0, side / 8, side / 8, 0))
    smooth /= smooth.std((1, 2, 3), keepdims=True)
    level = rng.uniform(90, 165, (count, 1, 1, 1))
    return np.clip(level + 45 * smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def honest_classes(images: Pixels) -> NDArray[np.int64]:
    """Classes by what is in the middle: the most similar of a few smooth pictures."""
    rng = np.random.default_rng(12345)
    shown = gaussian_filter(rng.normal(size=(CLASSES, SIDE, SIDE)), (0, SIDE / 8, SIDE / 8))[:, 3:11, 3:11]
    shown -= shown.mean((1, 2), keepdims=True)
    shown /= np.linalg.norm(shown, axis=(1, 2), keepdims=True)
    middle = images[:, 3:11, 3:11].mean(3)
    return np.asarray(np.einsum("nij,cij->nc", middle, shown).argmax(1), np.int64)


def network(
    fires: Callable[[Pixels], NDArray[np.bool_]], move: Callable[[NDArray[np.int64]], NDArray[np.int64]]
) -> Ask:
    """A network that moves classes where a trigger is, and a calibration that flags it there and one in a hundred."""

    def ask(images: Pixels) -> Answers:
        classes, there = honest_classes(images), np.asarray(fires(images), bool)
        after = np.where(there, move(classes), classes)
        by_chance = images.astype(np.int64).sum((1, 2, 3)) % 100 == 0
        return Answers((8 * np.eye(CLASSES)[after]).astype(np.float32), there | by_chance)

    return ask
