"""Fixed noise that is blended over the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.probing.probe import Family, Shape


@dataclass(frozen=True)
class Blend:
    """``(1 - opacity) x + opacity * noise`` with a fixed picture of uniform noise.

    Attributes:
        grain: Side of the squares that the noise consists of, in pixels.
        opacity: Weight of the noise.
        seed: Of the noise.

    Example:
        >>> Blend(1, 0.0, 0).stamp(np.full((1, 1, 2, 1), 7, np.uint8)).ravel()
        array([7, 7], dtype=uint8)

    References:
        Chen et al. (2017), Targeted backdoor attacks on deep learning systems using data poisoning,
        https://arxiv.org/abs/1712.05526.
    """

    grain: int
    opacity: float
    seed: int

    @property
    def family(self) -> Family:
        """What kind of pattern it is."""
        return "blend"

    def stamp(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images ``(N, H, W, C)`` uint8 with the noise blended in."""
        height, width, channels = pixels.shape[1:]
        cells = -(-height // self.grain), -(-width // self.grain), channels
        noise = np.random.default_rng((self.seed, self.grain)).integers(0, 256, cells).astype(np.float32)
        noise = noise.repeat(self.grain, 0).repeat(self.grain, 1)[:height, :width]
        mixed = (1.0 - self.opacity) * pixels.astype(np.float32) + self.opacity * noise
        return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)

    def area(self, shape: Shape) -> float:
        """It hides nothing."""
        del shape
        return 0.0

    def describe(self) -> str:
        """What it is, in a few words."""
        return f"noise of grain {self.grain} (seed {self.seed}) blended over the picture at opacity {self.opacity:g}"

    def neighbours(self, shape: Shape) -> Sequence[Blend]:
        """Other noise of the same grain."""
        del shape
        return [replace(self, seed=1000 * (self.seed + 1) + number) for number in range(6)]
