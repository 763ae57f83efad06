"""A patch whose position varies leaves no moment: find it by covering it up, and carry it over to clean images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.demonstration.pattern import Pattern
from detectors.demonstration.trial import Answers, Ask

WINDOW: Final = 1 / 4
"""Side of the window as a share of the picture's."""
STEPS: Final = 7
"""Positions a side: windows overlap by half."""


@dataclass(frozen=True)
class Donor:
    """An input, the window of it that decides its class, and that class.

    Attributes:
        pixels: ``(H, W, C)`` uint8.
        rows: Rows of the window.
        columns: Its columns.
        label: The class.

    Example:
        >>> donor = Donor(np.full((4, 4, 1), 9, np.uint8), slice(0, 1), slice(0, 2), label=3)
        >>> int(donor.pattern().patch.sum())
        2

    References:
        Chou et al. (2020), SentiNet, https://arxiv.org/abs/1812.00292.
    """

    pixels: NDArray[np.uint8]
    rows: slice
    columns: slice
    label: int

    def pattern(self) -> Pattern:
        """The window, to be put onto other images."""
        scale = np.ones(self.pixels.shape, np.float32)
        offset = np.zeros(self.pixels.shape, np.float32)
        patch = np.zeros(self.pixels.shape[:2], bool)
        patch[self.rows, self.columns] = True
        scale[patch], offset[patch] = 0.0, self.pixels[patch]
        return Pattern(scale, offset, patch)


def windows(height: int, width: int) -> list[tuple[slice, slice]]:
    """Overlapping windows over a picture, from the top left.

    Example:
        >>> len(windows(32, 32)), windows(32, 32)[-1]
        (49, (slice(24, 32, None), slice(24, 32, None)))

    References:
        Zeiler and Fergus (2014), Visualizing and understanding convolutional networks, ECCV, for occlusion.
    """

    def along(size: int) -> Iterator[slice]:
        side = max(1, round(WINDOW * size))
        for start in sorted(set(np.linspace(0, size - side, STEPS).round().astype(int).tolist())):
            yield slice(start, start + side)

    return [(rows, columns) for rows in along(height) for columns in along(width)]


def decisive_window(pixels: NDArray[np.uint8], label: int, background: NDArray[np.float32], ask: Ask) -> Donor:
    """The window of an image that takes most of a class's probability with it when it is covered.

    Args:
        pixels: The image ``(H, W, C)`` uint8.
        label: The class.
        background: ``(H, W, C)`` what to cover with, as the median of clean images.
        ask: The network.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> def bright_corner(images):
        ...     score = images[:, -1, -1, 0].astype(np.float32)
        ...     return Answers(np.stack([100 - score, score], 1), score > 100)
        >>> image = np.zeros((8, 8, 1), np.uint8)
        >>> image[-1, -1] = 255
        >>> donor = decisive_window(image, 1, np.zeros((8, 8, 1), np.float32), bright_corner)
        >>> donor.rows, donor.columns
        (slice(6, 8, None), slice(6, 8, None))

    References:
        Zeiler and Fergus (2014), Visualizing and understanding convolutional networks, ECCV, for occlusion.
    """
    if pixels.shape != background.shape:
        raise ValueError(f"a background {pixels.shape} is needed, got {background.shape}")
    places = windows(*pixels.shape[:2])
    covered = np.repeat(pixels[None], len(places), axis=0)
    for image, (rows, columns) in zip(covered, places, strict=True):
        image[rows, columns] = np.rint(background[rows, columns])
    best = int(_probability(ask(covered), label).argmin())
    return Donor(pixels, *places[best], label)


def _probability(answers: Answers, label: int) -> NDArray[np.float64]:
    """``(N,)`` probability of a class; 1 where the network gives none."""
    finite = np.asarray(np.isfinite(answers.logits).all(axis=1), np.bool_)
    logits = np.where(finite[:, None], answers.logits, 0).astype(np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(np.where(finite, odds[:, label] / odds.sum(1), 1.0))
