"""Streamed per-class moments of features, in float64.

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
class ClassMoments:
    """Zeroth, first and second moments around a fixed pilot point.

    The pilot (any point near the data) keeps the scatter free of cancellation; moments can only be
    added or subtracted when their pilots are equal.

    Attributes:
        pilot: ``(D,)`` float64, the point all moments refer to.
        counts: ``(C,)`` int64, images per class.
        sums: ``(C, D)`` float64, per-class sums of ``x - pilot``.
        scatter: ``(D, D)`` float64, sum of ``(x - pilot)(x - pilot)^T`` over all classes.
    """

    pilot: NDArray[np.float64]
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    scatter: NDArray[np.float64]

    def __add__(self, other: ClassMoments) -> ClassMoments:
        """Moments of the union of two disjoint sets."""
        return ClassMoments(
            self.pilot, self.counts + other.counts, self.sums + other.sums, self.scatter + other.scatter
        )

    def __sub__(self, other: ClassMoments) -> ClassMoments:
        """Moments of this set without a subset of it."""
        return ClassMoments(
            self.pilot, self.counts - other.counts, self.sums - other.sums, self.scatter - other.scatter
        )

    @property
    def total(self) -> int:
        """Number of images."""
        return int(self.counts.sum())

    def mean(self) -> NDArray[np.float64]:
        """Mean over all images, ``(D,)``."""
        mean: NDArray[np.float64] = self.pilot + self.sums.sum(0) / self.total
        return mean

    def class_means(self) -> NDArray[np.float64]:
        """Mean of each class, ``(C, D)``; the overall mean for a class without images."""
        offsets = self.sums / np.maximum(self.counts, 1)[:, None]
        offsets[self.counts == 0] = self.sums.sum(0) / self.total
        means: NDArray[np.float64] = self.pilot + offsets
        return means

    def total_covariance(self) -> NDArray[np.float64]:
        """Covariance around the overall mean (maximum likelihood, divides by N), ``(D, D)``."""
        offset = self.sums.sum(0) / self.total
        covariance: NDArray[np.float64] = self.scatter / self.total - np.outer(offset, offset)
        return covariance


def class_moments(
    features: NDArray[np.float32],
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    num_classes: int,
    pilot: NDArray[np.float64],
) -> ClassMoments:
    """Accumulate the moments of ``features[rows]`` chunk by chunk.

    Args:
        features: ``(N, D)`` float32, possibly a memory map.
        rows: ``(M,)`` indices into ``features``.
        classes: ``(N,)`` class of every row of ``features``.
        num_classes: Number of classes ``C``.
        pilot: ``(D,)`` reference point.
    """
    dim = features.shape[1]
    counts = np.zeros(num_classes, np.int64)
    sums = np.zeros((num_classes, dim))
    scatter = np.zeros((dim, dim))
    for chunk, block in blocks(features, rows):
        centred = block - pilot
        label = classes[chunk]
        counts += np.bincount(label, minlength=num_classes)
        np.add.at(sums, label, centred)
        scatter += centred.T @ centred
    return ClassMoments(pilot, counts, sums, scatter)


def blocks(
    features: NDArray[np.float32], rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield ``(row indices, float64 features)`` in chunks, so that memory stays bounded."""
    for start in range(0, len(rows), CHUNK_ROWS):
        chunk = rows[start : start + CHUNK_ROWS]
        yield chunk, np.asarray(features[chunk], np.float64)
