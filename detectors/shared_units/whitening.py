"""Clean images' covariance about their predicted class, and what it makes of a direction.

With fewer images than features, which is the rule, the covariance is shrunk, and is never built: everything is done
with scalar products of images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PRIOR = 2.0
"""A class's centre is the mean of its images and of so many at the mean of all."""
MIN_SHRINKAGE = 1e-3


@dataclass(frozen=True)
class ClassWhitening:
    """Centres of classes, and the covariance about them.

    .. math:: \\Sigma = \\beta I + s\\, Y^\\top Y

    with the rows of :math:`Y` the images' features less their class's centre.

    Attributes:
        centres: ``(C + 1, D)`` float64, the last for images of no known class.
        off: ``(n, D)`` float64, :math:`Y`.
        floor: :math:`\\beta`, positive.
        weight: :math:`s`, not negative.
        inverse: ``(m, m)`` float64, that of :math:`\\beta I + s Y^\\top Y` or, for fewer images than features, of
            :math:`\\beta I + s Y Y^\\top`.

    Example:
        >>> rows = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> whitening = fit_class_whitening(rows, np.zeros(4, int), 1)
        >>> bool(whitening.solve(np.array([1.0, 0.0]))[0] < whitening.solve(np.array([0.0, 1.0]))[1])
        True

    References:
        Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices, Journal of
        Multivariate Analysis 88, 365-411.
        Hager (1989), Updating the inverse of a matrix, SIAM Review 31, 221-239, for the inverse by scalar products.
    """

    centres: NDArray[np.float64]
    off: NDArray[np.float64]
    floor: float
    weight: float
    inverse: NDArray[np.float64]

    def offsets(self, features: NDArray[np.float64], predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        """Features ``(N, D)`` less the centres of the classes ``(N,)``; -1 for none known."""
        return np.asarray(features - self.centres[predicted], np.float64)

    def solve(self, direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """``(D,)``: :math:`\\Sigma^{-1} d` of a direction ``(D,)``."""
        if self._dual:
            inner = self.inverse @ (self.off @ direction)
            return np.asarray((direction - self.weight * (self.off.T @ inner)) / self.floor, np.float64)
        return np.asarray(self.inverse @ direction, np.float64)

    def leverages(self) -> NDArray[np.float64]:
        """``(n,)``: how much of each image's own projection is its own doing, from 0 to 1.

        Without image ``i``, its projection on a solved direction is as much as with it, divided by 1 less its leverage.
        """
        if self._dual:
            return np.asarray(1 - self.floor * np.diag(self.inverse), np.float64)
        return np.asarray(self.weight * ((self.off @ self.inverse) * self.off).sum(1), np.float64)

    @property
    def _dual(self) -> bool:
        return bool(len(self.off) < self.off.shape[1])


def fit_class_whitening(
    features: NDArray[np.float64], predicted: NDArray[np.int64], num_classes: int
) -> ClassWhitening:
    """Centres and covariance of clean images.

    Args:
        features: ``(n, D)`` float64, finite.
        predicted: ``(n,)`` predicted classes, -1 where one is not known.
        num_classes: Number of classes ``C``.

    Raises:
        ValueError: If there is no image, or lengths differ.

    Example:
        See :class:`ClassWhitening`.

        >>> fit_class_whitening(np.zeros((3, 2)), np.zeros(3, int), 4).centres.shape
        (5, 2)

    References:
        Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices, Journal of
        Multivariate Analysis 88, 365-411.
    """
    if features.ndim != 2 or 0 in features.shape or predicted.shape != features.shape[:1]:
        raise ValueError(f"features (n, D) and classes (n,) are needed, got {features.shape}, {predicted.shape}")
    count, dim = features.shape
    mean = features.mean(0)
    centres = np.repeat(mean[None], num_classes + 1, axis=0)
    for label in np.unique(predicted[predicted >= 0]):
        own = features[predicted == label]
        centres[label] = (own.sum(0) + PRIOR * mean) / (len(own) + PRIOR)
    off = features - centres[predicted]
    gram = off @ off.T if count < dim else off.T @ off
    scale, intensity = _shrinkage(gram, (off**2).sum(1), count, dim)
    floor = max(intensity, MIN_SHRINKAGE) * scale if scale > 0 else 1.0
    weight = (1 - max(intensity, MIN_SHRINKAGE)) / count
    inner = weight * gram
    inner[np.diag_indices(len(inner))] += floor
    return ClassWhitening(centres, off, floor, weight, np.linalg.inv(inner))


def _shrinkage(gram: NDArray[np.float64], squares: NDArray[np.float64], count: int, dim: int) -> tuple[float, float]:
    """Mean variance, and Ledoit's and Wolf's intensity, by scalar products of images or of features alike."""
    scale = float(squares.sum()) / count / dim
    squared_norm = float(np.einsum("ij,ij->", gram, gram)) / count**2
    spread = squared_norm - dim * scale**2
    noise = max(float((squares**2).mean()) - squared_norm, 0.0) / count
    return scale, 1.0 if spread <= noise else noise / spread
