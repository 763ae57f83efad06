"""Which pictures are copies of one another: exact ones, recompressed ones, or neighbouring frames of a video.

What the network makes of them is of no use here: a trigger makes different pictures alike to it. So thumbnails are
compared, on a scale that the clean reference gives: how near its own pictures come to one another.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

QUANTILE: Final = 0.01
"""Share of the clean pictures that may have a neighbour nearer than copies are."""
LARGEST: Final = 0.05
"""Largest distance of copies: of pictures of some contrast, a correlation of 0.95."""
_CHUNK: Final = 256
_ROUNDING: Final = 1e-6
"""What single precision makes of the distance between equal thumbnails."""


def copy_distance(thumbnails: NDArray[np.float32]) -> float:
    """Distance below which two pictures are copies, from clean pictures that are none.

    .. math:: d(t, t') = \\|t - t'\\|^2 / 2

    which is one minus the correlation for pictures that are not faint. It is the 1% quantile of the distances of clean
    pictures to their nearest neighbours, and at most 0.05.

    Args:
        thumbnails: ``(N, D)`` float32, of :func:`~detectors.drift.appearance.appearance`.

    Raises:
        ValueError: If there are fewer than two.

    Example:
        >>> thumbnails = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
        >>> thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True)
        >>> copy_distance(thumbnails)
        0.05

    References:
        docs/method.md, section Copies.
    """
    if thumbnails.ndim != 2 or len(thumbnails) < 2:
        raise ValueError(f"two or more thumbnails (N, D) are needed, got {thumbnails.shape}")
    nearest = np.empty(len(thumbnails))
    for start in range(0, len(thumbnails), _CHUNK):
        distances = _distances(thumbnails[start : start + _CHUNK], thumbnails)
        distances[np.arange(len(distances)), np.arange(len(distances)) + start] = np.inf
        nearest[start : start + _CHUNK] = distances.min(1)
    return float(np.clip(np.quantile(nearest, QUANTILE), 0.0, LARGEST))


def copies(thumbnails: NDArray[np.float32], distance: float) -> NDArray[np.int64]:
    """For each picture ``(N,)``, the row of the first one that it is a copy of, itself included.

    Every picture that is no copy of an earlier leader leads a group; the others join a leader that is near enough. So
    the order decides: give them in one that has nothing to do with what is in them.

    Args:
        thumbnails: ``(N, D)`` float32, of :func:`~detectors.drift.appearance.appearance`.
        distance: Of :func:`copy_distance`.

    Raises:
        ValueError: If they are no rows.

    Example:
        >>> one, other = np.eye(2, dtype=np.float32)
        >>> copies(np.stack([one, other, one]), 0.05)
        array([0, 1, 0])

    References:
        Hartigan (1975), Clustering algorithms, Wiley, chapter 3, for the leader algorithm.
    """
    if thumbnails.ndim != 2:
        raise ValueError(f"thumbnails (N, D) are needed, got {thumbnails.shape}")
    count = len(thumbnails)
    group, distance = np.full(count, -1), distance + _ROUNDING
    leaders: list[int] = []
    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count))
        if leaders:
            distances = _distances(thumbnails[rows], thumbnails[leaders])
            known = distances.min(1) <= distance
            group[rows[known]] = np.array(leaders)[distances[known].argmin(1)]
        own = rows[group[rows] < 0]
        near = _distances(thumbnails[own], thumbnails[own]) <= distance
        for position, row in enumerate(own.tolist()):
            if group[row] < 0:
                leaders.append(row)
                followers = own[position:][near[position, position:]]
                group[followers[group[followers] < 0]] = row
                group[row] = row
    return group


def _distances(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Half the squared distances ``(N, M)`` of rows."""
    distances = np.square(one).sum(1)[:, None] + np.square(other).sum(1)
    distances /= 2
    distances -= one @ other.T
    return np.asarray(distances, np.float32)
