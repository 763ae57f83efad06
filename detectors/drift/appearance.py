"""What a picture looks like, in a few numbers and a thumbnail, whatever a network makes of it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

STATISTICS: Final = (
    "brightness",
    "contrast",
    "sharpness",
    "noise",
    "blocking",
    "red against green",
    "blue against green",
    "colourfulness",
    "size",
    "aspect",
)
"""What is measured of every picture, in gray levels (those of colour are 0 for gray pictures), its size as the root of
its pixels before it was resized, and its width by its height."""
SIDE: Final = 8
"""Rows and columns of the thumbnail."""
FAINT: Final = 8.0
"""Contrast of a thumbnail, in gray levels, below which noise is a good part of it."""
WIDTH: Final = SIDE * SIDE + len(STATISTICS)
_BLOCK: Final = 8
"""Side of a JPEG block."""
_ENOUGH: Final = 64
"""Rows and columns that are looked at of a larger picture."""
_WEIGHTS: Final = (0.299, 0.587, 0.114)


def statistics_of(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The statistics ``(N, 10)`` of pictures ``(N, WIDTH)``.

    Example:
        >>> statistics_of(np.zeros((2, WIDTH), np.float32)).shape
        (2, 10)

    References:
        docs/method.md, section Drift.
    """
    return rows[:, SIDE * SIDE :]


def thumbnails_of(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The thumbnails ``(N, 64)`` of pictures ``(N, WIDTH)``.

    Example:
        >>> thumbnails_of(np.zeros((2, WIDTH), np.float32)).shape
        (2, 64)

    References:
        docs/method.md, section Copies.
    """
    return rows[:, : SIDE * SIDE]


def appearance(pixels: NDArray[np.uint8], sizes: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
    """Thumbnails and statistics ``(N, WIDTH)`` float32 of pictures ``(N, H, W, C)`` uint8 with 1 or 3 channels.

    Brightness is the mean of the luma, contrast its standard deviation, sharpness the mean absolute difference of
    neighbours, noise that of second differences along both axes, which edges hardly touch, and blocking what
    differences across borders of 8 by 8 blocks have more than all. Of pictures larger than 64 by 64 these are
    measured in the middle, and the others at every so many pixels. Colours are mean differences of channels, and
    colourfulness the mean absolute one.

    The thumbnail is the luma's mean over 8 by 8 cells, less its mean, divided by its norm and that of a contrast of
    eight gray levels together. So brightness and contrast hardly matter, and a faint picture is not all noise:

    .. math:: t = \\frac{c - \\bar c}{\\sqrt{\\|c - \\bar c\\|^2 + (8 \\cdot 8)^2}}

    Args:
        pixels: The pictures as the network sees them.
        sizes: ``(N, 2)`` height and width before they were resized; by default those of ``pixels``.

    Raises:
        ValueError: If they are no such pictures.

    Example:
        >>> gray = np.full((1, 16, 16, 1), 100, np.uint8)
        >>> dict(zip(STATISTICS, statistics_of(appearance(gray))[0].tolist()))["brightness"]
        100.0

    References:
        Immerkaer (1996), Fast noise variance estimation, Computer Vision and Image Understanding 64, 300-302, for the
        second differences. Wang, Sheikh and Bovik (2002), No-reference perceptual quality assessment of JPEG compressed
        images, ICIP, for the blocks. Hasler and Suesstrunk (2003), Measuring colourfulness in natural images, SPIE.
    """
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or pixels.dtype != np.uint8 or 0 in pixels.shape[1:]:
        raise ValueError(f"uint8 pictures (N, H, W, 1 or 3) are needed, got {pixels.dtype} {pixels.shape}")
    coarse, fine = _coarse(pixels), _luma(_middle(pixels))
    luma = _luma(coarse)
    down, across = np.abs(np.diff(fine, axis=1)), np.abs(np.diff(fine, axis=2))
    bent = fine[:, 2:] - 2 * fine[:, 1:-1] + fine[:, :-2]
    columns = (
        luma.mean((1, 2)),
        luma.std((1, 2)),
        (_mean(down) + _mean(across)) / 2,
        _mean(np.abs(bent[:, :, 2:] - 2 * bent[:, :, 1:-1] + bent[:, :, :-2])) / 4,
        (_blocking(down, 1) + _blocking(across, 2)) / 2,
        *_colours(coarse),
    )
    if sizes is None:
        sizes = np.repeat(np.array([pixels.shape[1:3]], np.int32), len(pixels), axis=0)
    return np.concatenate([_thumbnails(luma), np.stack(columns, 1), shape_statistics(sizes)], 1).astype(np.float32)


def shape_statistics(sizes: NDArray[np.int32]) -> NDArray[np.float32]:
    """Size and aspect ``(N, 2)`` of pictures of heights and widths ``(N, 2)``.

    Example:
        >>> shape_statistics(np.array([[100, 400]], np.int32))
        array([[200.,   4.]], dtype=float32)

    References:
        docs/method.md, section Drift.
    """
    height, width = sizes.astype(np.float64).T
    return np.stack([np.sqrt(height * width), width / np.maximum(height, 1)], 1).astype(np.float32)


def _coarse(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Every so many pixels of a large picture: what is measured of all of it needs no more."""
    rows, columns = (max(1, size // _ENOUGH) for size in pixels.shape[1:3])
    return pixels[:, ::rows, ::columns].astype(np.float32)


def _middle(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The middle of a large picture: what is measured between neighbours needs no more. Blocks begin where they did."""
    start = [max(0, (size - _ENOUGH) // 2) // _BLOCK * _BLOCK for size in pixels.shape[1:3]]
    rows, columns = (slice(first, first + _ENOUGH) for first in start)
    return pixels[:, rows, columns].astype(np.float32)


def _luma(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    if pixels.shape[3] == 1:
        return pixels[..., 0]
    luma = pixels[..., 0] * _WEIGHTS[0]
    luma += pixels[..., 1] * _WEIGHTS[1]
    luma += pixels[..., 2] * _WEIGHTS[2]
    return luma


def _mean(differences: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = differences.reshape(len(differences), -1)
    means = flat.mean(1) if flat.shape[1] else np.zeros(len(flat))
    return np.asarray(means, np.float32)


def _blocking(differences: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Mean across the borders of blocks, less the mean of all."""
    borders = differences[:, _BLOCK - 1 :: _BLOCK] if axis == 1 else differences[:, :, _BLOCK - 1 :: _BLOCK]
    return _mean(borders) - _mean(differences) if borders.size else np.zeros(len(differences), np.float32)


def _colours(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    if pixels.shape[3] == 1:
        return (np.zeros(len(pixels), np.float32),) * 3
    red, blue = pixels[..., 0] - pixels[..., 1], pixels[..., 2] - pixels[..., 1]
    both = np.abs(red) + np.abs(blue)
    return _mean(red), _mean(blue), _mean(both) / np.float32(2)


def _thumbnails(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    cells = luma
    for axis in (1, 2):
        size = cells.shape[axis]
        # Of fewer than 8 rows, some stand for several cells.
        edges = np.arange(SIDE) * size // SIDE
        ends = np.maximum(np.append(edges[1:], size), edges + 1)
        weights = ((np.arange(size) >= edges[:, None]) & (np.arange(size) < ends[:, None])) / (ends - edges)[:, None]
        means = weights.astype(np.float32)
        cells = means @ cells if axis == 1 else cells @ means.T
    flat = cells.reshape(len(cells), -1)
    flat = flat - flat.mean(1, keepdims=True)
    norm = np.sqrt(np.square(flat).sum(1, keepdims=True) + (FAINT * SIDE) ** 2)
    return np.asarray(flat / norm, np.float32)
