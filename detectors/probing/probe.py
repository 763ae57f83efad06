"""What every probe is: a plain pattern with few parameters that can be put on any picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Family = Literal["patch", "wave", "cosine", "blend", "tint", "warp"]

FAMILIES: tuple[Family, ...] = ("patch", "wave", "cosine", "blend", "tint", "warp")


@dataclass(frozen=True)
class Shape:
    """Height, width and channels of the images that are probed.

    Raises:
        ValueError: If there are fewer than 8 pixels a side, or neither one channel nor three.

    Example:
        >>> Shape(32, 32, 3).side(1 / 8)
        4

    References:
        docs/audit.md, section Patterns.
    """

    height: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        """Refuse images that no pattern fits on."""
        if min(self.height, self.width) < 8 or self.channels not in (1, 3):
            raise ValueError(
                f"images of at least 8x8 pixels with 1 or 3 channels are needed, got {self.height}x{self.width} with "
                f"{self.channels}"
            )

    @property
    def shorter(self) -> int:
        """The shorter side in pixels."""
        return min(self.height, self.width)

    def side(self, share: float) -> int:
        """A share of the shorter side, in whole pixels, at least 3: below that a pattern has no texture."""
        return max(3, int(share * self.shorter + 0.5))


@runtime_checkable
class Probe(Protocol):
    """A pattern.

    Example:
        >>> from detectors.probing.tint import Tint
        >>> isinstance(Tint((24,)), Probe)
        True

    References:
        docs/audit.md, section Patterns.
    """

    @property
    def family(self) -> Family:
        """What kind of pattern it is."""

    def stamp(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images ``(N, H, W, C)`` uint8 with the pattern on them."""

    def area(self, shape: Shape) -> float:
        """Share of the picture that it hides; 0 where it hides nothing."""

    def describe(self) -> str:
        """What it is, in a few words."""

    def neighbours(self, shape: Shape) -> Sequence[Probe]:
        """Patterns that differ a little."""


def added(pixels: NDArray[np.uint8], offset: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Images with an offset in gray levels that broadcasts to them, rounded and clipped.

    Example:
        >>> added(np.array([[[[250]]]], np.uint8), np.array([10.0], np.float32)).ravel()
        array([255], dtype=uint8)

    References:
        docs/audit.md, section Patterns.
    """
    return np.asarray(np.clip(np.rint(pixels.astype(np.float32) + offset), 0, 255), np.uint8)
