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

    Raises:
        ValueError: If shapes do not fit together, or there are not as many groups.

    Example:
        >>> groups = ClassGroups(np.array([0]), count=1, shared=None)
        >>> scale = np.array([[gaussian_log_scale(np.eye(2))]])
        >>> density = ClassDensity(np.zeros((1, 1, 2)), np.eye(2)[None, None], scale, groups, tied=True)
        >>> density.supremum - density.log_likelihood(np.array([[3.0, 4.0]]))
        array([[12.5]])

    References:
        Ahuja, Ndiour, Kalyanpur and Tickoo (2019), Probabilistic modeling of deep features for out-of-distribution
        and adversarial detection, https://arxiv.org/abs/1909.11786.
        Subedar, Ahuja, Krishnan, Ndiour and Tickoo (2019), Deep probabilistic models to detect data poisoning attacks,
        https://arxiv.org/abs/1912.01206, section 2.
    """

    means: NDArray[np.float64]
    whiteners: NDArray[np.float64]
    log_scales: NDArray[np.float64]
    groups: ClassGroups
    tied: bool

    def __post_init__(self) -> None:
        """Refuse parts of different sizes."""
        means, whiteners = self.means.shape, self.whiteners.shape
        if self.means.ndim != 3 or 0 in means or self.log_scales.shape != means[:2] or self.groups.count != means[0]:
            raise ValueError(
                f"means (G, M, k) and log scales (G, M) of {self.groups.count} groups are needed, "
                f"got {means} and {self.log_scales.shape}"
            )
        if whiteners != ((1, 1) if self.tied else means[:2]) + (means[2], means[2]):
            raise ValueError(f"whiteners of means {means}, tied: {self.tied}, are needed, got {whiteners}")

    @property
    def supremum(self) -> float:
        """An upper bound of every group's log-likelihood: the largest sum of component peaks, in nats."""
        return float(np.logaddexp.reduce(self.log_scales, axis=1).max())

    def log_likelihood(self, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-likelihood in nats of coordinates ``(N, k)`` under every group, ``(N, G)``.

        .. math:: \\log p(x | g) = \\log \\sum_m \\exp(a_{gm} - \\tfrac12 \\|W_{gm}^T (x - \\mu_{gm})\\|^2)

        Raises:
            ValueError: If there are not as many coordinates.
        """
        num_groups, num_components, dim = self.means.shape
        if coordinates.ndim != 2 or coordinates.shape[1] != dim:
            raise ValueError(f"coordinates (N, {dim}) are needed, got {coordinates.shape}")
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
    """Log of a Gaussian's peak, for the whitener ``W`` of shape ``(k, k)``, the precision being ``W W^T``.

    .. math:: -\\frac k2 \\log 2 \\pi + \\log |\\det W|

    Raises:
        ValueError: If the whitener is not square.

    Example:
        >>> round(gaussian_log_scale(np.array([[2.0]])), 4)  # a standard deviation of one half
        -0.2258

    References:
        Bishop (2006), Pattern recognition and machine learning, equation 2.43, for the Gaussian.
    """
    _require_square(whitener, "whitener")
    dim = len(whitener)
    return float(-0.5 * dim * np.log(2 * np.pi) + np.linalg.slogdet(whitener)[1])


def principal_whitener(covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal axes ``(k, k)``, in columns, and reciprocal standard deviations ``(k,)`` along them.

    .. math:: \\Sigma = U \\Lambda U^T \\mapsto (U, \\Lambda^{-1/2})

    Variances are floored at 1e-10 of the largest, so that a rank-deficient covariance (a class
    with fewer images than coordinates, unshrunk) gives large finite distances and not infinities.

    Args:
        covariance: ``(k, k)``, symmetric, not zero.

    Raises:
        ValueError: If the covariance is not square, zero or not finite: there is nothing to whiten by.

    Example:
        >>> axes, reciprocals = principal_whitener(np.diag([1.0, 4.0]))
        >>> reciprocals
        array([1. , 0.5])

    References:
        Kessy, Lewin and Strimmer (2018), Optimal whitening and decorrelation, The American Statistician 72, 309-314.
    """
    _require_square(covariance, "covariance")
    if not np.isfinite(covariance).all():
        raise ValueError("a covariance that is not finite cannot be inverted")
    values, vectors = np.linalg.eigh(covariance)
    if values[-1] <= 0.0:
        raise ValueError("the covariance is zero: the images do not differ in these features")
    return vectors, 1.0 / np.sqrt(np.maximum(values, values[-1] * 1e-10))


def whitener_of(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A ``(k, k)`` matrix ``W`` whose ``W W^T`` is the inverse of a covariance; see :func:`principal_whitener`.

    .. math:: W = U \\Lambda^{-1/2}, \\quad \\Sigma = U \\Lambda U^T

    Raises:
        ValueError: As :func:`principal_whitener` does.

    Example:
        >>> whitener = whitener_of(np.diag([4.0, 1.0]))
        >>> np.allclose(whitener @ whitener.T, np.diag([0.25, 1.0]))
        True

    References:
        Kessy, Lewin and Strimmer (2018), Optimal whitening and decorrelation, The American Statistician 72, 309-314.
    """
    axes, reciprocals = principal_whitener(covariance)
    whitener: NDArray[np.float64] = axes * reciprocals
    return whitener


def _require_square(matrix: NDArray[np.float64], what: str) -> None:
    if matrix.ndim != 2 or not 1 <= len(matrix) == matrix.shape[1]:
        raise ValueError(f"a square {what} is needed, got shape {matrix.shape}")
