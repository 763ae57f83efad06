"""Squares of one colour, a chequerboard or fixed noise, at a position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from detectors.probing.probe import Family, Shape

Texture = Literal["white", "black", "chequered", "noise", "red", "green", "blue", "yellow", "magenta", "cyan"]

PLAIN: Final[tuple[Texture, ...]] = ("white", "black", "chequered", "noise")
COLOURED: Final[tuple[Texture, ...]] = ("red", "green", "blue", "yellow", "magenta", "cyan")
_COLOURS: Final[dict[Texture, tuple[int, int, int]]] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
}
LARGEST: Final = 0.2
"""Largest side that is tried, but for three pixels, as a share of the shorter side: 4% of a square picture."""


@dataclass(frozen=True)
class Patch:
    """A square that hides what is beneath it.

    Attributes:
        side: Height and width in pixels.
        row: Of its upper edge, from 0 at the top.
        column: Of its left edge.
        texture: What it shows.
        seed: Of the noise.

    Example:
        >>> Patch(2, 0, 1, "white").stamp(np.zeros((1, 2, 3, 1), np.uint8))[0, :, :, 0]
        array([[  0, 255, 255],
               [  0, 255, 255]], dtype=uint8)

    References:
        Gu et al. (2017), BadNets, https://arxiv.org/abs/1708.06733.
    """

    side: int
    row: int
    column: int
    texture: Texture
    seed: int = 0

    @property
    def family(self) -> Family:
        """What kind of pattern it is."""
        return "patch"

    def stamp(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images ``(N, H, W, C)`` uint8 with the patch on them."""
        stamped = pixels.copy()
        rows, columns = slice(self.row, self.row + self.side), slice(self.column, self.column + self.side)
        stamped[:, rows, columns] = self._pixels(pixels.shape[3])
        return stamped

    def area(self, shape: Shape) -> float:
        """Share of the picture that it hides."""
        return self.side**2 / (shape.height * shape.width)

    def describe(self) -> str:
        """What it is, in a few words."""
        return f"a {self.texture} patch of {self.side}x{self.side} pixels at row {self.row}, column {self.column}"

    def neighbours(self, shape: Shape) -> Sequence[Patch]:
        """Half a side further in each direction, smaller and larger, and in the other plain textures."""
        step = max(1, self.side // 2)
        moved = [
            self._within(shape, row=self.row + down * step, column=self.column + right * step)
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1))
        ]
        sides = {max(2, round(self.side * factor)) for factor in (0.6, 0.8, 1.25)}
        middle = self.row + self.side / 2, self.column + self.side / 2
        sized = [
            self._within(shape, side=side, row=round(middle[0] - side / 2), column=round(middle[1] - side / 2))
            for side in sorted(sides)
            if side <= max(shape.side(LARGEST), self.side)
        ]
        textured = [replace(self, texture=texture) for texture in PLAIN]
        return [probe for probe in dict.fromkeys([*moved, *sized, *textured]) if probe != self]

    def _within(self, shape: Shape, *, row: int, column: int, side: int | None = None) -> Patch:
        """Another place and side, moved into the picture."""
        side = side or self.side
        row, column = min(max(row, 0), shape.height - side), min(max(column, 0), shape.width - side)
        return replace(self, side=side, row=row, column=column)

    def _pixels(self, channels: int) -> NDArray[np.uint8]:
        """What it shows, ``(side, side, C)``, or what broadcasts to it."""
        if self.texture == "chequered":
            rows, columns = np.indices((self.side, self.side))
            return np.asarray(((rows + columns) % 2 * 255)[:, :, None], np.uint8)
        if self.texture == "noise":
            generator = np.random.default_rng((self.seed, self.side, channels))
            return generator.integers(0, 256, (self.side, self.side, channels), np.uint8)
        colour = _COLOURS[self.texture]
        return np.array(colour if channels == 3 else colour[:1], np.uint8)
