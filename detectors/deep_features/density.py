"""Class-conditional densities in principal-component coordinates.

One representation serves all families of Ahuja et al. 2019: for class c a mixture of Gaussians

.. math:: \\log p(x | c) = \\log \\sum_m \\exp(a_{cm} - \\tfrac12 \\|W_{cm}^T (x - \\mu_{cm})\\|^2)

where ``W W^T`` is the precision and ``a`` holds mixture weight and normaliser. A Gaussian is a
mixture of one; a tied covariance is one whitener for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Family = Literal["tied", "separate", "tied-shrunk", "separate-shrunk", "mixture"]
FAMILIES: tuple[Family, ...] = ("tied", "separate", "tied-shrunk", "separate-shrunk", "mixture")


@dataclass(frozen=True)
class ClassDensity:
    """Mixtures of ``M`` Gaussians for each of ``C`` classes over ``k`` coordinates.

    Attributes:
        means: ``(C, M, k)``.
        whiteners: ``(1, 1, k, k)`` when the covariance is tied, else ``(C, M, k, k)``.
        log_scales: ``(C, M)``: log mixture weight plus log normaliser; ``-inf`` where a class has
            fewer components, or no images at all.
    """

    means: NDArray[np.float64]
    whiteners: NDArray[np.float64]
    log_scales: NDArray[np.float64]

    @property
    def supremum(self) -> float:
        """An upper bound of every class log-likelihood: the largest sum of component peaks, in nats."""
        return float(np.logaddexp.reduce(self.log_scales, axis=1).max())

    def log_likelihood(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-likelihood in nats of coordinates ``(N, k)`` under every class, ``(N, C)``."""
        num_classes, num_components, dim = self.means.shape
        if self.whiteners.shape[0] == 1:
            whitener = self.whiteners[0, 0]
            points = coordinates @ whitener
            centres = self.means.reshape(-1, dim) @ whitener
            squared = _squared_distances(points, centres)
        else:
            squared = np.empty((len(coordinates), num_classes * num_components))
            whiteners = self.whiteners.reshape(-1, dim, dim)
            for index, mean in enumerate(self.means.reshape(-1, dim)):
                white = (coordinates - mean) @ whiteners[index]
                squared[:, index] = np.einsum("nk,nk->n", white, white)
        exponents = self.log_scales - 0.5 * squared.reshape(-1, num_classes, num_components)
        return np.asarray(np.logaddexp.reduce(exponents, axis=2), np.float64)


def _squared_distances(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared Euclidean distances ``(N, P)``, by differences: no cancellation for near points."""
    distances = np.empty((len(points), len(centres)))
    for index, centre in enumerate(centres):
        difference = points - centre
        distances[:, index] = np.einsum("nk,nk->n", difference, difference)
    return distances


def gaussian_log_scale(whitener: NDArray[np.float64]) -> float:
    """Log of a Gaussian's peak: ``-k/2 log(2 pi) + log |det W|`` for the precision ``W W^T``."""
    dim = len(whitener)
    return float(-0.5 * dim * np.log(2 * np.pi) + np.linalg.slogdet(whitener)[1])


def whitener_of(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A ``(k, k)`` matrix ``W`` with ``W W^T = covariance^-1``.

    Eigenvalues are floored at 1e-10 of the largest, so that a rank-deficient covariance (a class
    with fewer images than coordinates, unshrunk) gives large finite distances and not infinities.
    """
    values, vectors = np.linalg.eigh(covariance)
    floor = max(float(values[-1]), np.finfo(np.float64).tiny) * 1e-10
    whitener: NDArray[np.float64] = vectors / np.sqrt(np.maximum(values, floor))
    return whitener
