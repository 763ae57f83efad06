"""What inversion finds, as probes: whole pixels and whole gray levels, so that anybody can put them on a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.probing.probe import Family, Probe, Shape, added


@dataclass(frozen=True, eq=False)
class Stencil:
    """Pixels that hide what is beneath them.

    Attributes:
        mask: ``(H, W)`` bool, which pixels.
        pixels: ``(H, W, C)`` uint8, what they show.

    Example:
        >>> mask = np.array([[True, False]])
        >>> Stencil(mask, np.full((1, 2, 1), 9, np.uint8)).stamp(np.zeros((1, 1, 2, 1), np.uint8)).ravel()
        array([9, 0], dtype=uint8)

    References:
        Wang et al. (2019), Neural Cleanse, IEEE S&P, https://doi.org/10.1109/SP.2019.00031.
    """

    mask: NDArray[np.bool_]
    pixels: NDArray[np.uint8]

    @property
    def family(self) -> Family:
        """What kind of pattern it is."""
        return "patch"

    @property
    def size(self) -> int:
        """Pixels that it hides."""
        return int(self.mask.sum())

    def stamp(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images ``(N, H, W, C)`` uint8 with the pixels on them."""
        return np.where(self.mask[:, :, None], self.pixels, pixels)

    def area(self, shape: Shape) -> float:
        """Share of the picture that it hides."""
        return self.size / (shape.height * shape.width)

    def describe(self) -> str:
        """What it is, in a few words."""
        return f"{self.size} pixels found by gradients"

    def neighbours(self, shape: Shape) -> Sequence[Probe]:
        """None: gradients have searched already."""
        del shape
        return []


@dataclass(frozen=True, eq=False)
class Offset:
    """Gray levels that are added to every pixel.

    Attributes:
        levels: ``(H, W, C)`` int16, what is added.

    Example:
        >>> Offset(np.full((1, 1, 1), -3, np.int16)).stamp(np.array([[[[2]]], [[[9]]]], np.uint8)).ravel()
        array([0, 6], dtype=uint8)

    References:
        Moosavi-Dezfooli et al. (2017), Universal adversarial perturbations, CVPR, https://arxiv.org/abs/1610.08401.
    """

    levels: NDArray[np.int16]

    @property
    def family(self) -> Family:
        """What kind of pattern it is."""
        return "blend"

    @property
    def size(self) -> int:
        """The largest change of a pixel in gray levels."""
        return int(np.abs(self.levels).max())

    def stamp(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images ``(N, H, W, C)`` uint8 with the levels added, clipped."""
        return added(pixels, self.levels.astype(np.float32))

    def area(self, shape: Shape) -> float:
        """It hides nothing."""
        del shape
        return 0.0

    def describe(self) -> str:
        """What it is, in a few words."""
        return f"an offset of at most {self.size} of 255 found by gradients"

    def neighbours(self, shape: Shape) -> Sequence[Probe]:
        """None: gradients have searched already."""
        del shape
        return []
