"""From what gradients found to whole pixels or gray levels: the first size, from below, that works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.inversion.patterns import Offset, Stencil

SUCCESS: Final = 0.9
"""Share of the images that a pattern has to move."""
_FROM: Final = 0.7
"""Of the size that gradients ended with: where the sizes that are tried begin."""
_GROWTH: Final = 1.1


def sizes_from(size: float, most: int) -> Iterator[int]:
    """Sizes that are tried, ascending: each a tenth larger than the last, or by one.

    Args:
        size: What gradients ended with; where that is infinite, nothing is worth trying.
        most: The largest.

    Example:
        >>> list(sizes_from(4.0, 15))
        [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]

    References:
        docs/audit.md, section Refinement.
    """
    if not np.isfinite(size):
        return
    tried = min(most, max(1, round(_FROM * size)))
    while tried <= most:
        yield tried
        tried = max(tried + 1, round(_GROWTH * tried))


def smallest_size(sizes: Iterator[int], share: Callable[[int], float]) -> int | None:
    """The first size that works; None where none does.

    Args:
        sizes: Ascending.
        share: The share of images that a size moves.

    Example:
        >>> smallest_size(iter(range(1, 100)), lambda size: float(size >= 7))
        7

    References:
        docs/audit.md, section Refinement.
    """
    return next((size for size in sizes if share(size) >= SUCCESS), None)


def stencil(mask: NDArray[np.float32], pattern: NDArray[np.float32], size: int) -> Stencil:
    """The pixels at which a mask is largest, with the pattern on them.

    Args:
        mask: ``(H, W)`` between 0 and 1.
        pattern: ``(C, H, W)`` between 0 and 1.
        size: How many pixels.

    Example:
        >>> stencil(np.array([[0.1, 0.9]], np.float32), np.ones((1, 1, 2), np.float32), 1).mask
        array([[False,  True]])

    References:
        docs/audit.md, section Refinement.
    """
    chosen = np.zeros(mask.size, np.bool_)
    chosen[np.argsort(-mask.ravel(), kind="stable")[:size]] = True
    pixels = np.rint(np.clip(pattern, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return Stencil(chosen.reshape(mask.shape), np.ascontiguousarray(pixels))


def scaled(offset: NDArray[np.float32], size: int) -> Offset:
    """An offset at another amplitude, in whole gray levels.

    Args:
        offset: ``(C, H, W)``, in any unit.
        size: Its largest change of a pixel.

    Example:
        >>> scaled(np.array([[[0.1, -0.2]]], np.float32), 10).levels.ravel()
        array([  5, -10], dtype=int16)

    References:
        docs/audit.md, section Refinement.
    """
    largest = float(np.abs(offset).max())
    levels = offset * (size / largest) if largest > 0 else offset
    return Offset(np.ascontiguousarray(np.rint(levels).astype(np.int16).transpose(1, 2, 0)))
