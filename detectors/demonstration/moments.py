"""Robust moments of every pixel over many images, and of what is left of it without the smooth part of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SMOOTH: Final = 1 / 5
"""Width of the window that is smooth, as a share of the picture's side; twice over."""
_TRIM: Final = 0.1
_BAND: Final = 16
"""Rows at a time: order statistics over hundreds of images need a copy of them."""
_CHUNK: Final = 32


@dataclass(frozen=True)
class Moments:
    """Moments over ``N`` images; arrays are float32 ``(H, W, C)``, in gray levels.

    Attributes:
        pixels: ``(N, H, W, C)`` uint8, the images.
        median: Median.
        deviation: Median absolute deviation.
        mean: Mean of all but the highest and the lowest tenth.
        sharp: Mean of the images without their smooth parts.
        error: Its standard error.

    Example:
        >>> moments(np.zeros((4, 2, 2, 1), np.uint8)).median.shape
        (2, 2, 1)

    References:
        Huber and Ronchetti (2009), Robust Statistics, second edition, Wiley.
    """

    pixels: NDArray[np.uint8]
    median: NDArray[np.float32]
    deviation: NDArray[np.float32]
    mean: NDArray[np.float32]
    sharp: NDArray[np.float32]
    error: NDArray[np.float32]


def moments(pixels: NDArray[np.uint8]) -> Moments:
    """Moments of images ``(N, H, W, C)`` uint8.

    Raises:
        ValueError: If there are fewer than two images, or they have another shape or type.

    Example:
        >>> found = moments(np.array([0, 10, 250], np.uint8).reshape(3, 1, 1, 1))
        >>> float(found.median[0, 0, 0]), float(found.deviation[0, 0, 0])
        (10.0, 10.0)

    References:
        Huber and Ronchetti (2009), Robust Statistics, second edition, Wiley.
    """
    if pixels.ndim != 4 or len(pixels) < 2 or pixels.dtype != np.uint8:
        raise ValueError(f"uint8 images (N, H, W, C), N >= 2, are needed, got {pixels.dtype} {pixels.shape}")
    count, shape = len(pixels), pixels.shape[1:]
    median, deviation, mean = (np.empty(shape, np.float32) for _ in range(3))
    cut = int(_TRIM * count)
    for top in range(0, shape[0], _BAND):
        rows = slice(top, top + _BAND)
        band = np.sort(pixels[:, rows], axis=0)
        middle = _middle(band)
        median[rows] = middle
        deviation[rows] = _middle(np.sort(np.abs(band - middle), axis=0))
        mean[rows] = band[cut : count - cut].mean(0, dtype=np.float32)
    total, squares = (np.zeros(shape) for _ in range(2))
    for start in range(0, count, _CHUNK):
        chunk = pixels[start : start + _CHUNK].astype(np.float32)
        sharp = chunk - smooth(smooth(chunk))
        total += sharp.sum(0)
        squares += np.square(sharp).sum(0)
    variance = np.maximum(squares - np.square(total) / count, 0) / (count - 1)
    return Moments(
        pixels,
        median,
        deviation,
        mean,
        np.asarray(total / count, np.float32),
        np.asarray(np.sqrt(variance / count), np.float32),
    )


def smooth(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images ``(N, H, W, C)`` with every pixel the mean of a window around it, cut off at the border.

    Example:
        >>> smooth(np.ones((1, 5, 5, 1), np.float32)).max().item()
        1.0

    References:
        docs/method.md, section Demonstration.
    """
    out = images
    for axis in (1, 2):
        size = images.shape[axis]
        reach = max(1, round(SMOOTH * size / 2))
        sums = np.cumsum(out, axis=axis, dtype=np.float64)
        sums = np.concatenate([np.zeros_like(np.take(sums, [0], axis)), sums], axis=axis)
        positions = np.arange(size)
        high, low = np.minimum(positions + reach + 1, size), np.maximum(positions - reach, 0)
        width = (high - low).reshape([-1 if one == axis else 1 for one in range(4)])
        out = ((np.take(sums, high, axis) - np.take(sums, low, axis)) / width).astype(np.float32)
    return out


def _middle(ordered: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
    count = len(ordered)
    middle = (ordered[(count - 1) // 2].astype(np.float32) + ordered[count // 2].astype(np.float32)) / 2
    return np.asarray(middle, np.float32)
