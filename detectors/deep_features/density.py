"""Class-conditional densities in principal-component coordinates.

One representation serves all families of Ahuja et al. 2019: for group g of classes a mixture of Gaussians

.. math:: \\log p(x | g) = \\log \\sum_m \\exp(a_{gm} - \\tfrac12 \\|W_{gm}^T (x - \\mu_{gm})\\|^2)

where ``W W^T`` is the precision and ``a`` holds mixture weight and normaliser. A Gaussian is a
mixture of one; a tied covariance is one whitener for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detectors.deep_features.grouping import ClassGroups

Family = Literal["tied", "separate", "tied-shrunk", "separate-shrunk", "mixture"]
FAMILIES: tuple[Family, ...] = ("tied", "separate", "tied-shrunk", "separate-shrunk", "mixture")


@dataclass(frozen=True)
class ClassDensity:
    """Mixtures of ``M`` Gaussians for each of ``G`` groups of classes over ``k`` coordinates.

    Attributes:
        means: ``(G, M, k)``.
        whiteners: ``(1, 1, k, k)``, diagonal, when the covariance is tied, else ``(G, M, k, k)``; one group has
            that shape either way.
        log_scales: ``(G, M)``: log mixture weight plus log normaliser; ``-inf`` where a group has
            fewer components.
        groups: The group of every class.
        tied: Whether all groups share one covariance.
    """

    means: NDArray[np.float64]
    whiteners: NDArray[np.float64]
    log_scales: NDArray[np.float64]
    groups: ClassGroups
    tied: bool

    @property
    def supremum(self) -> float:
        """An upper bound of every group's log-likelihood: the largest sum of component peaks, in nats."""
        return float(np.logaddexp.reduce(self.log_scales, axis=1).max())

    def log_likelihood(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-likelihood in nats of coordinates ``(N, k)`` under every group, ``(N, G)``."""
        num_groups, num_components, dim = self.means.shape
        if self.tied:
            whitener = self.whiteners[0, 0]
            points = coordinates @ whitener
            centres = self.means.reshape(-1, dim) @ whitener
            squared = _squared_distances(points, centres)
        else:
            squared = np.empty((len(coordinates), num_groups * num_components))
            whiteners = self.whiteners.reshape(-1, dim, dim)
            for index, mean in enumerate(self.means.reshape(-1, dim)):
                white = (coordinates - mean) @ whiteners[index]
                squared[:, index] = np.einsum("nk,nk->n", white, white)
        exponents = self.log_scales - 0.5 * squared.reshape(-1, num_groups, num_components)
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


def principal_whitener(covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal axes ``(k, k)``, in columns, and reciprocal standard deviations ``(k,)`` along them.

    Variances are floored at 1e-10 of the largest, so that a rank-deficient covariance (a class
    with fewer images than coordinates, unshrunk) gives large finite distances and not infinities.

    Args:
        covariance: ``(k, k)``, symmetric, not zero.

    Raises:
        ValueError: If the covariance is zero or not finite: there is nothing to whiten by.
    """
    if not np.isfinite(covariance).all():
        raise ValueError("a covariance that is not finite cannot be inverted")
    values, vectors = np.linalg.eigh(covariance)
    if values[-1] <= 0.0:
        raise ValueError("the covariance is zero: the images do not differ in these features")
    return vectors, 1.0 / np.sqrt(np.maximum(values, values[-1] * 1e-10))


def whitener_of(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A ``(k, k)`` matrix ``W`` with ``W W^T = covariance^-1``; see :func:`principal_whitener`.

    Example:
        >>> whitener = whitener_of(np.diag([4.0, 1.0]))
        >>> np.allclose(whitener @ whitener.T, np.diag([0.25, 1.0]))
        True
    """
    axes, reciprocals = principal_whitener(covariance)
    whitener: NDArray[np.float64] = axes * reciprocals
    return whitener
