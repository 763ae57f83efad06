"""The plain patterns that a search begins with."""

from __future__ import annotations

from itertools import product
from typing import Final

import numpy as np

from detectors.probing.blend import Blend
from detectors.probing.patch import COLOURED, PLAIN, Patch
from detectors.probing.probe import Probe, Shape
from detectors.probing.tint import Tint
from detectors.probing.warp import Warp
from detectors.probing.waves import Cosine, Wave

PLACES: Final = 9
"""Positions of a patch along each side. Those next to each other are less than a side apart, or touch."""
_SIDE: Final = 5 / 32
_AMPLITUDE: Final = 20.0
_PERIODS: Final = (1, 2, 3, 4, 6, 8, 10)
_HALF_PERIODS: Final = 6
_OPACITY: Final = 0.15
_LEVELS: Final = 24


def library(shape: Shape) -> tuple[Probe, ...]:
    """Patches of every texture on a grid of positions, gratings, cosines, noise, tints and warps.

    Global patterns are weak: 20 gray levels, 15% of opacity, a thirty-second of the side. Patches hide about 2.4% of
    the picture. The search looks around those that do most. They come in an order without any pattern, so that a search
    that is cut short has tried some of each.

    Args:
        shape: Of the images.

    Example:
        >>> from collections import Counter
        >>> sorted(Counter(probe.family for probe in library(Shape(32, 32, 3))).items())
        [('blend', 16), ('cosine', 70), ('patch', 810), ('tint', 14), ('warp', 12), ('wave', 56)]

    References:
        docs/audit.md, section Patterns.
    """
    probes = [*_patches(shape), *_waves(shape), *_cosines(), *_blends(shape), *_tints(shape), *_warps(shape)]
    return tuple(probes[position] for position in np.random.default_rng(0).permutation(len(probes)).tolist())


def _patches(shape: Shape) -> list[Probe]:
    side = shape.side(_SIDE)
    rows = np.unique(np.linspace(0, shape.height - side, PLACES).round().astype(int)).tolist()
    columns = np.unique(np.linspace(0, shape.width - side, PLACES).round().astype(int)).tolist()
    textures = (*PLAIN, *COLOURED) if shape.channels == 3 else PLAIN
    return [Patch(side, row, column, texture) for texture, row, column in product(textures, rows, columns)]


def _waves(shape: Shape) -> list[Probe]:
    periods = [number for number in _PERIODS if 2 * number < shape.shorter]
    directions = ((0, 1), (1, 0), (1, 1), (1, -1))
    return [
        Wave(down * number, right * number, phase, _AMPLITUDE)
        for number, (down, right), phase in product(periods, directions, (0, 1))
    ]


def _cosines() -> list[Probe]:
    places = [place for place in product(range(_HALF_PERIODS), repeat=2) if any(place)]
    return [Cosine(down, right, sign * _AMPLITUDE) for (down, right), sign in product(places, (1, -1))]


def _blends(shape: Shape) -> list[Probe]:
    grains = [max(1, number * shape.shorter // 32) for number in (1, 2, 4, 8)]
    return [Blend(grain, _OPACITY, seed) for grain, seed in product(dict.fromkeys(grains), range(4))]


def _tints(shape: Shape) -> list[Probe]:
    if shape.channels == 1:
        return [Tint((_LEVELS,)), Tint((-_LEVELS,))]
    chosen = [part for part in product((0, 1), repeat=3) if any(part)]
    return [Tint(tuple(sign * _LEVELS * on for on in part)) for part, sign in product(chosen, (1, -1))]


def _warps(shape: Shape) -> list[Probe]:
    displacement = shape.shorter / 32
    return [Warp(points, displacement, seed) for points, seed in product((4, 6, 8), range(4))]
