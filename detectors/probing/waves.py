"""Patterns of one frequency that are added to a picture: gratings, and products of cosines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detectors.probing.probe import Family, Shape, added


@dataclass(frozen=True)
class Wave:
    """A sinusoidal grating, the same in every channel.

    Attributes:
        down: Periods from top to bottom.
        right: Periods from left to right.
        phase: In quarters of a period.
        amplitude: In gray levels.

    Example:
        >>> Wave(0, 1, 0, 20.0).stamp(np.full((1, 1, 4, 1), 100, np.uint8)).ravel()
        array([100, 120, 100,  80], dtype=uint8)

    References:
        Barni, Kallas and Tondi (2019), A new backdoor attack in CNNs by training set corruption without label
        poisoning, ICIP, https://arxiv.org/abs/1902.11237.
    """

    down: int
    right: int
    phase: int
    amplitude: float

    @property
    def family(self) -> Family:
        """What kind of pattern it is."""
        return "wave"

    def stamp(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images ``(N, H, W, C)`` uint8 with the grating added."""
        height, width = pixels.shape[1:3]
        rows, columns = np.arange(height)[:, None] / height, np.arange(width)[None] / width
        angle = 2 * np.pi * (self.down * rows + self.right * columns + self.phase / 4)
        return added(pixels, np.asarray(self.amplitude * np.sin(angle), np.float32)[:, :, None])

    def area(self, shape: Shape) -> float:
        """It hides nothing."""
        del shape
        return 0.0

    def describe(self) -> str:
        """What it is, in a few words."""
        return (
            f"a grating of {self.down} periods down and {self.right} across, phase {self.phase}/4, amplitude "
            f"{self.amplitude:g} of 255"
        )

    def neighbours(self, shape: Shape) -> Sequence[Wave]:
        """A period more or less in each direction, and the other phases."""
        most = (shape.shorter - 1) // 2
        frequencies = [
            replace(self, down=self.down + down, right=self.right + right)
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))
            if 0 <= self.down + down <= most and -most <= self.right + right <= most
        ]
        phases = [replace(self, phase=phase) for phase in range(4)]
        return [probe for probe in (*frequencies, *phases) if probe != self and (probe.down or probe.right)]


@dataclass(frozen=True)
class Cosine:
    """One function of the two-dimensional discrete cosine transform, the same in every channel.

    Attributes:
        down: Half periods from top to bottom.
        right: Half periods from left to right.
        amplitude: In gray levels, with its sign.

    Example:
        >>> Cosine(0, 1, 20.0).stamp(np.full((1, 1, 2, 1), 100, np.uint8)).ravel()
        array([114,  86], dtype=uint8)

    References:
        Ahmed, Natarajan and Rao (1974), Discrete cosine transform, IEEE Transactions on Computers 23, 90-93. Zeng et
        al. (2021), Rethinking the backdoor attacks' triggers: a frequency perspective, ICCV,
        https://arxiv.org/abs/2104.03413.
    """

    down: int
    right: int
    amplitude: float

    @property
    def family(self) -> Family:
        """What kind of pattern it is."""
        return "cosine"

    def stamp(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images ``(N, H, W, C)`` uint8 with the function added."""
        height, width = pixels.shape[1:3]
        rows = np.cos(np.pi * self.down * (np.arange(height) + 0.5) / height)[:, None]
        columns = np.cos(np.pi * self.right * (np.arange(width) + 0.5) / width)[None]
        return added(pixels, np.asarray(self.amplitude * rows * columns, np.float32)[:, :, None])

    def area(self, shape: Shape) -> float:
        """It hides nothing."""
        del shape
        return 0.0

    def describe(self) -> str:
        """What it is, in a few words."""
        return f"the cosine function ({self.down}, {self.right}), amplitude {self.amplitude:g} of 255"

    def neighbours(self, shape: Shape) -> Sequence[Cosine]:
        """The next functions in each direction, and the same with the other sign."""
        most = shape.shorter - 1
        moved = [
            replace(self, down=self.down + down, right=self.right + right)
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))
            if 0 <= self.down + down <= most and 0 <= self.right + right <= most
        ]
        return [probe for probe in (*moved, replace(self, amplitude=-self.amplitude)) if probe.down or probe.right]
