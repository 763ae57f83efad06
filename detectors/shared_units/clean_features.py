"""What is kept of the clean images' features of the last layer, in which suspects are looked for a direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.rows import Rows, chunks

LARGEST = 60_000.0
"""Standardised features are cut here, which float16 can hold."""
CONSTANT = 1e-6
"""A column that varies less than this, against the one that varies most, has scale 1."""


@dataclass(frozen=True)
class CleanFeatures:
    """Standardised features of ``n`` clean images.

    Attributes:
        features: ``(n, D)`` float16, the last ``D`` of an image's units, standardised.
        predicted: ``(n,)`` int64, predicted class; -1 where it is not known.
        classes: Number of classes ``C``.
        location: ``(D,)`` float64, mean of each column.
        scale: ``(D,)`` float64, its standard deviation, positive.

    Raises:
        ValueError: If shapes do not fit together, a feature is not finite, or a scale is not positive.

    Example:
        >>> kept = fit_clean_features([np.array([[1.0, 4.0], [3.0, 4.0]], np.float32)], np.zeros(2, int), 1)
        >>> kept.features.tolist(), kept.standardised(np.array([[0.0, 4.0, 5.0]], np.float32)).tolist()
        ([[-1.0, 0.0], [1.0, 0.0]], [[2.0, 1.0]])

    References:
        docs/method.md, section Direction of suspects.
    """

    features: NDArray[np.float16]
    predicted: NDArray[np.int64]
    classes: int
    location: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        width = self.features.shape[1:]
        if self.features.ndim != 2 or not self.location.shape == self.scale.shape == width or not width[0]:
            raise ValueError(
                f"features (n, D), location and scale (D,) are needed, got {self.features.shape}, "
                f"{self.location.shape} and {self.scale.shape}"
            )
        if self.predicted.shape != self.features.shape[:1]:
            raise ValueError(f"a class for each of {len(self.features)} images is needed, got {self.predicted.shape}")
        if not -1 <= self.predicted.min(initial=0) <= self.predicted.max(initial=-1) < self.classes:
            raise ValueError(f"predictions are classes 0 to {self.classes - 1}, or -1")
        finite = np.isfinite(self.features).all() and np.isfinite(self.location).all() and np.isfinite(self.scale).all()
        if not finite or not (self.scale > 0).all():
            raise ValueError("finite features, locations and positive scales are needed")

    @property
    def width(self) -> int:
        """Number of features ``D``."""
        return len(self.location)

    def standardised(self, units: NDArray[np.float32]) -> NDArray[np.float16]:
        """Features ``(N, D)`` of inputs, of their units ``(N, U)``: the last columns.

        Raises:
            ValueError: If there are fewer.
        """
        if units.ndim != 2 or units.shape[1] < self.width:
            raise ValueError(f"units (N, {self.width}) or more are needed, got {units.shape}")
        return _standardised(units[:, units.shape[1] - self.width :], self.location, self.scale)


def fit_clean_features(features: Sequence[Rows], predicted: NDArray[np.int64], num_classes: int) -> CleanFeatures:
    """Standardise the features of clean images.

    Args:
        features: ``(n, D)`` float32, finite, of each descriptor of the layer.
        predicted: ``(n,)`` predicted classes.
        num_classes: Number of classes ``C``.

    Raises:
        ValueError: If there is no descriptor, no image or no feature, something is not finite, or lengths or classes do
            not fit.

    Example:
        See :class:`CleanFeatures`.

        >>> fit_clean_features([np.zeros((2, 1), np.float32)], np.zeros(2, int), 1).scale.tolist()
        [1.0]

    References:
        docs/method.md, section Direction of suspects.
    """
    if not features or any(one.ndim != 2 or 0 in one.shape for one in features):
        raise ValueError(f"features (n, D) are needed, got {[one.shape for one in features]}")
    moments = [_moments(one) for one in features]
    location, scale = (np.concatenate(parts) for parts in zip(*moments, strict=True))
    each = zip(features, moments, strict=True)
    kept = [np.concatenate([_standardised(chunk, *own) for chunk in chunks(one)]) for one, own in each]
    return CleanFeatures(np.concatenate(kept, axis=1), predicted.astype(np.int64), num_classes, location, scale)


def _moments(features: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and scale ``(D,)`` of one descriptor's features."""
    location = np.sum([chunk.sum(0, dtype=np.float64) for chunk in chunks(features)], axis=0) / len(features)
    squares = np.sum([((chunk - location) ** 2).sum(0) for chunk in chunks(features)], axis=0)
    spread = np.sqrt(squares / len(features))
    return location, np.where(spread > CONSTANT * spread.max(), spread, 1.0)


def _standardised(
    features: NDArray[np.float32], location: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float16]:
    off = np.nan_to_num((features - location) / scale)
    return np.clip(off, -LARGEST, LARGEST).astype(np.float16)
