"""How a network's classes look, and which of them are which of another one's, whatever the order of their outputs."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

CELLS: Final = 4
"""Cells along each side that a class's mean picture is told by."""


def class_looks(images: NDArray[np.uint8], classes: NDArray[np.int64], number: int) -> NDArray[np.float64] | None:
    """The mean picture of each class ``(K, 16 C)``, in cells, in gray levels; None where a class has no image.

    Args:
        images: ``(N, H, W, C)`` uint8.
        classes: ``(N,)`` their predicted classes.
        number: Number of classes.

    Raises:
        ValueError: If the lengths differ, or there are fewer pixels than cells a side.

    Example:
        >>> images = np.zeros((2, 8, 8, 1), np.uint8)
        >>> images[1] = 100
        >>> class_looks(images, np.array([1, 0]), 2)[:, 0].tolist()
        [100.0, 0.0]

    References:
        docs/audit.md, section Pairs of classes.
    """
    height, width = images.shape[1:3]
    if len(images) != len(classes) or min(height, width) < CELLS:
        raise ValueError(f"a class for each image of at least {CELLS} pixels is needed, got {images.shape}")
    if len(np.unique(classes[classes >= 0])) < number:
        return None
    means = np.stack([images[classes == label].mean(0) for label in range(number)])
    for axis, size in ((1, height), (2, width)):
        edges = np.arange(CELLS) * size // CELLS
        lengths = np.diff([*edges, size]).reshape([-1 if at == axis else 1 for at in range(4)])
        means = np.add.reduceat(means, edges, axis=axis) / lengths
    return np.asarray(means.reshape(number, -1), np.float64)


def match_classes(own: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Which class of another network each one ``(K,)`` looks like; None where two look like the same.

    Args:
        own: ``(K, D)`` looks of the classes.
        known: ``(K, D)`` those of the other network.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> looks = np.array([[0.0], [50.0], [100.0]])
        >>> match_classes(looks[[2, 0, 1]] + 3.0, looks)
        array([2, 0, 1])
        >>> match_classes(np.zeros((3, 1)), looks) is None
        True

    References:
        Cover and Hart (1967), Nearest neighbor pattern classification, IEEE Transactions on Information Theory 13.
    """
    if own.shape != known.shape or own.ndim != 2:
        raise ValueError(f"looks (K, D) of both networks are needed, got {own.shape} and {known.shape}")
    nearest = ((own[:, None] - known[None]) ** 2).sum(2).argmin(1)
    return None if len(np.unique(nearest)) < len(nearest) else np.asarray(nearest, np.int64)
