"""A shift of the colours of the whole picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.probing.probe import Family, Shape, added


@dataclass(frozen=True)
class Tint:
    """A number of gray levels that is added to every pixel of a channel.

    Attributes:
        levels: One for each channel.

    Example:
        >>> Tint((-20,)).stamp(np.array([[[[10], [30]]]], np.uint8)).ravel()
        array([ 0, 10], dtype=uint8)

    References:
        Liu et al. (2019), ABS, CCS, https://doi.org/10.1145/3319535.3363216, for filters as triggers.
    """

    levels: tuple[int, ...]

    @property
    def family(self) -> Family:
        """What kind of pattern it is."""
        return "tint"

    def stamp(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images ``(N, H, W, C)`` uint8 with shifted colours."""
        return added(pixels, np.array(self.levels, np.float32))

    def area(self, shape: Shape) -> float:
        """It hides nothing."""
        del shape
        return 0.0

    def describe(self) -> str:
        """What it is, in a few words."""
        return f"a shift of the colours by {', '.join(f'{level:+d}' for level in self.levels)} of 255"

    def neighbours(self, shape: Shape) -> Sequence[Tint]:
        """The library has them all."""
        del shape
        return []
