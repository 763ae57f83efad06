"""Streamed moments of features, in float64.

Moments add and subtract. A cross-fitted density therefore needs one pass over the features: the
moments of everything but one fold are the total minus that fold's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.rows import CHUNK_ROWS, Rows


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

    Raises:
        ValueError: If shapes differ.

    Example:
        >>> features = np.array([[0.0], [2.0], [7.0]], np.float32)
        >>> rest = moments_of(features, np.arange(3), np.zeros(1)) - moments_of(features, np.array([2]), np.zeros(1))
        >>> rest.mean(), rest.covariance()
        (array([1.]), array([[1.]]))

    References:
        Chan, Golub and LeVeque (1983), Algorithms for computing the sample variance, The American Statistician 37,
        242-247.
    """

    pilot: NDArray[np.float64]
    count: int
    total: NDArray[np.float64]
    scatter: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse moments of different dimensions."""
        shapes = self.pilot.shape, self.total.shape, self.scatter.shape
        if self.pilot.ndim != 1 or shapes != ((dim := len(self.pilot),), (dim,), (dim, dim)):
            raise ValueError(f"pilot (D,), total (D,) and scatter (D, D) are needed, got {shapes}")

    def __add__(self, other: Moments) -> Moments:
        """Moments of the union of two disjoint sets.

        Raises:
            ValueError: If their pilots differ.
        """
        self._require_same_pilot(other)
        return Moments(self.pilot, self.count + other.count, self.total + other.total, self.scatter + other.scatter)

    def __sub__(self, other: Moments) -> Moments:
        """Moments of this set without a subset of it.

        Raises:
            ValueError: If their pilots differ, or the other set is larger.
        """
        self._require_same_pilot(other)
        if other.count > self.count:
            raise ValueError(f"a subset of {self.count} images is needed, got one of {other.count}")
        return Moments(self.pilot, self.count - other.count, self.total - other.total, self.scatter - other.scatter)

    def mean(self) -> NDArray[np.float64]:
        """Mean over all images, ``(D,)``.

        .. math:: \\bar x = p + \\frac1n \\sum_i (x_i - p)

        Raises:
            ValueError: If there is no image.
        """
        self._require_images()
        mean: NDArray[np.float64] = self.pilot + self.total / self.count
        return mean

    def covariance(self) -> NDArray[np.float64]:
        """Covariance around the mean (maximum likelihood, divides by n), ``(D, D)``.

        .. math:: S = \\frac1n \\sum_i (x_i - p)(x_i - p)^T - (\\bar x - p)(\\bar x - p)^T

        Raises:
            ValueError: If there is no image.
        """
        self._require_images()
        offset = self.total / self.count
        covariance: NDArray[np.float64] = self.scatter / self.count - np.outer(offset, offset)
        return covariance

    def _require_same_pilot(self, other: Moments) -> None:
        if self.pilot is not other.pilot and not np.array_equal(self.pilot, other.pilot):
            raise ValueError("moments around one pilot are needed, got two different ones")

    def _require_images(self) -> None:
        if self.count < 1:
            raise ValueError(f"moments of at least one image are needed, got {self.count}")


def moments_of(features: Rows, rows: NDArray[np.int64], pilot: NDArray[np.float64]) -> Moments:
    """Accumulate the moments of ``features[rows]`` chunk by chunk.

    Args:
        features: ``(N, D)`` float32.
        rows: ``(M,)`` indices into ``features``.
        pilot: ``(D,)`` reference point.

    Raises:
        ValueError: If the shapes do not fit together.

    Example:
        >>> features = np.array([[0.0, 1.0], [2.0, 1.0]], np.float32)
        >>> moments_of(features, np.arange(2), np.ones(2)).covariance().tolist()
        [[1.0, 0.0], [0.0, 0.0]]

    References:
        Chan, Golub and LeVeque (1983), Algorithms for computing the sample variance, The American Statistician 37,
        242-247.
    """
    if features.ndim != 2 or pilot.shape != features.shape[1:]:
        raise ValueError(f"features (N, D) and a pilot (D,) are needed, got {features.shape} and {pilot.shape}")
    dim = features.shape[1]
    total, scatter = np.zeros(dim), np.zeros((dim, dim))
    for _, block in blocks(features, rows):
        centred = block - pilot
        total += centred.sum(0)
        scatter += centred.T @ centred
    return Moments(pilot, len(rows), total, scatter)


def blocks(features: Rows, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield ``(row indices, float64 features)`` in chunks, so that memory stays bounded.

    Args:
        features: ``(N, D)`` float32.
        rows: ``(M,)`` indices into ``features``.

    Raises:
        ValueError: If the shapes are others.

    Example:
        >>> [(chunk.tolist(), block.tolist()) for chunk, block in blocks(np.eye(3, dtype=np.float32), np.array([2, 0]))]
        [([2, 0], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])]

    References:
        Chan, Golub and LeVeque (1983), Algorithms for computing the sample variance, The American Statistician 37,
        242-247.
    """
    if features.ndim != 2 or rows.ndim != 1:
        raise ValueError(f"features (N, D) and rows (M,) are needed, got {features.shape} and {rows.shape}")
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = rows[start : start + CHUNK_ROWS]
        yield chunk, np.asarray(features[chunk], np.float64)
