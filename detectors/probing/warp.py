"""A smooth elastic warp of the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.probing.probe import Family, Shape


@dataclass(frozen=True)
class Warp:
    """Every pixel is taken from a place nearby, by displacements that are drawn on a grid and interpolated.

    Attributes:
        points: Points of the grid along each side, two or more.
        displacement: Mean displacement in pixels along each axis, at the points.
        seed: Of the displacements.

    Example:
        >>> pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1), np.uint8)
        >>> bool((Warp(4, 0.0, 0).stamp(pixels) == pixels).all())
        True

    References:
        Nguyen and Tran (2021), WaNet, ICLR, https://arxiv.org/abs/2102.10369.
    """

    points: int
    displacement: float
    seed: int

    @property
    def family(self) -> Family:
        """What kind of pattern it is."""
        return "warp"

    def stamp(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images ``(N, H, W, C)`` uint8, warped, with bilinear interpolation."""
        height, width = pixels.shape[1:3]
        drawn = np.random.default_rng((self.seed, self.points)).uniform(-1.0, 1.0, (2, self.points, self.points))
        drawn *= self.displacement / np.abs(drawn).mean()
        field = _enlarged(drawn, height, width)
        rows = np.clip(np.arange(height)[:, None] + field[0], 0, height - 1)
        columns = np.clip(np.arange(width)[None] + field[1], 0, width - 1)
        above, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
        below, right = np.minimum(above + 1, height - 1), np.minimum(left + 1, width - 1)
        down, across = (rows - above)[:, :, None].astype(np.float32), (columns - left)[:, :, None].astype(np.float32)
        upper = pixels[:, above, left] * (1 - across) + pixels[:, above, right] * across
        lower = pixels[:, below, left] * (1 - across) + pixels[:, below, right] * across
        return np.asarray(np.rint(upper * (1 - down) + lower * down), np.uint8)

    def area(self, shape: Shape) -> float:
        """It hides nothing."""
        del shape
        return 0.0

    def describe(self) -> str:
        """What it is, in a few words."""
        return (
            f"a warp by {self.displacement:g} pixels in the mean on a grid of {self.points}x{self.points} "
            f"(seed {self.seed})"
        )

    def neighbours(self, shape: Shape) -> Sequence[Warp]:
        """Other displacements on the same grid."""
        del shape
        return [replace(self, seed=1000 * (self.seed + 1) + number) for number in range(6)]


def _enlarged(drawn: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Displacements ``(2, P, P)`` at every pixel, ``(2, H, W)``, between the points by smoothed steps."""
    points = drawn.shape[1]
    return np.asarray(_weights(height, points) @ drawn @ _weights(width, points).T, np.float64)


def _weights(size: int, points: int) -> NDArray[np.float64]:
    """Weights ``(size, P)`` of the points at every pixel; those of a pixel sum to 1."""
    places = np.linspace(0, points - 1, size)
    first = np.minimum(places.astype(np.int64), points - 2)
    share = places - first
    share = share * share * (3 - 2 * share)
    weights = np.zeros((size, points))
    weights[np.arange(size), first], weights[np.arange(size), first + 1] = 1 - share, share
    return weights
