"""Streamed moments of features, in float64.

Moments add and subtract. A cross-fitted density therefore needs one pass over the features: the
moments of everything but one fold are the total minus that fold's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK_ROWS = 4096


@dataclass(frozen=True)
class Moments:
    """Zeroth, first and second moments around a fixed pilot point.

    The pilot (any point near the data) keeps the scatter free of cancellation; moments can only be
    added or subtracted when their pilots are equal.

    Attributes:
        pilot: ``(D,)`` float64, the point all moments refer to.
        count: Number of images.
        total: ``(D,)`` float64, sum of ``x - pilot``.
        scatter: ``(D, D)`` float64, sum of ``(x - pilot)(x - pilot)^T``.
    """

    pilot: NDArray[np.float64]
    count: int
    total: NDArray[np.float64]
    scatter: NDArray[np.float64]

    def __add__(self, other: Moments) -> Moments:
        """Moments of the union of two disjoint sets."""
        return Moments(self.pilot, self.count + other.count, self.total + other.total, self.scatter + other.scatter)

    def __sub__(self, other: Moments) -> Moments:
        """Moments of this set without a subset of it."""
        return Moments(self.pilot, self.count - other.count, self.total - other.total, self.scatter - other.scatter)

    def mean(self) -> NDArray[np.float64]:
        """Mean over all images, ``(D,)``."""
        mean: NDArray[np.float64] = self.pilot + self.total / self.count
        return mean

    def covariance(self) -> NDArray[np.float64]:
        """Covariance around the mean (maximum likelihood, divides by N), ``(D, D)``."""
        offset = self.total / self.count
        covariance: NDArray[np.float64] = self.scatter / self.count - np.outer(offset, offset)
        return covariance


def moments_of(features: NDArray[np.float32], rows: NDArray[np.int64], pilot: NDArray[np.float64]) -> Moments:
    """Accumulate the moments of ``features[rows]`` chunk by chunk.

    Args:
        features: ``(N, D)`` float32, possibly a memory map.
        rows: ``(M,)`` indices into ``features``.
        pilot: ``(D,)`` reference point.
    """
    dim = features.shape[1]
    total, scatter = np.zeros(dim), np.zeros((dim, dim))
    for _, block in blocks(features, rows):
        centred = block - pilot
        total += centred.sum(0)
        scatter += centred.T @ centred
    return Moments(pilot, len(rows), total, scatter)


def blocks(
    features: NDArray[np.float32], rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield ``(row indices, float64 features)`` in chunks, so that memory stays bounded."""
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = rows[start : start + CHUNK_ROWS]
        yield chunk, np.asarray(features[chunk], np.float64)
