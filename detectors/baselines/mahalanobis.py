"""Distance of the last hidden layer's features to the nearest class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mahalanobis:
    """Class means and one precision matrix for all classes.

    Attributes:
        means: ``(C, D)``; NaN for a class without images.
        precision: ``(D, D)`` pseudo-inverse of the covariance around the class means.

    Example:
        >>> features = np.array([[0.0], [2.0], [10.0], [12.0]])
        >>> fitted = fit_mahalanobis(features, np.array([0, 0, 1, 1]), num_classes=2)
        >>> fitted.score(np.array([[1.0], [9.0]]))
        array([0., 4.])

    References:
        Lee, Lee, Lee and Shin (2018), A simple unified framework for detecting out-of-distribution samples and
        adversarial attacks, https://arxiv.org/abs/1807.03888.
    """

    means: NDArray[np.float64]
    precision: NDArray[np.float64]

    def score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared distance ``(N,)`` of features ``(N, D)`` to the nearest class; higher is more suspicious."""
        distances = []
        for mean in self.means[~np.isnan(self.means).any(1)]:
            residual = features - mean
            distances.append(((residual @ self.precision) * residual).sum(1))
        return np.asarray(np.min(distances, axis=0), np.float64)


def fit_mahalanobis(features: NDArray[np.float64], labels: NDArray[np.int64], num_classes: int) -> Mahalanobis:
    """Class means, and the covariance around them of all images together.

    Args:
        features: ``(N, D)`` of clean images.
        labels: ``(N,)`` their classes.
        num_classes: ``C``.

    Raises:
        ValueError: If there are not as many labels as images.

    Example:
        >>> fit_mahalanobis(np.array([[0.0], [2.0]]), np.array([0, 0]), 1).precision
        array([[1.]])

    References:
        Lee, Lee, Lee and Shin (2018), A simple unified framework for detecting out-of-distribution samples and
        adversarial attacks, https://arxiv.org/abs/1807.03888, equation 2.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(f"features (N, D) and labels (N,) are needed, got {features.shape} and {labels.shape}")
    means = np.full((num_classes, features.shape[1]), np.nan)
    for label in np.unique(labels):
        means[label] = features[labels == label].mean(0)
    residual = features - means[labels]
    return Mahalanobis(means, np.linalg.pinv(residual.T @ residual / len(residual), hermitian=True))
