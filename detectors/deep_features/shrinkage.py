"""Ledoit-Wolf shrinkage of a covariance towards a scaled identity (Ledoit and Wolf 2004)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ledoit_wolf(covariance: NDArray[np.float64], fourth_moment: float, count: int) -> tuple[NDArray[np.float64], float]:
    """Shrink a maximum-likelihood covariance by the optimal intensity.

    .. math:: \\hat\\Sigma = (1 - \\rho) S + \\rho \\frac{\\mathrm{tr} S}{p} I

    Only sufficient statistics are needed, so it works on streams:

    .. math:: \\rho = \\min(1, \\frac{\\frac1n \\sum_i \\|x_i\\|^4 - \\|S\\|_F^2}
        {n (\\|S\\|_F^2 - (\\mathrm{tr} S)^2 / p)})

    Args:
        covariance: ``(p, p)``, of centred observations, divided by ``count``.
        fourth_moment: ``mean_i ||x_i||^4`` over the centred observations.
        count: Number of observations ``n``.

    Returns:
        The shrunk covariance and the intensity ``rho`` in [0, 1].

    Raises:
        ValueError: If the covariance is not square, there is no observation, or the fourth moment is not finite.

    Example:
        >>> rows = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> shrunk, intensity = ledoit_wolf(rows.T @ rows / 4, float((rows**2).sum(1) @ (rows**2).sum(1) / 4), 4)
        >>> round(intensity, 4), shrunk.diagonal().round(4)
        (0.9444, array([1.2917, 1.2083]))

    References:
        Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices, Journal of
        Multivariate Analysis 88, 365-411.
    """
    if covariance.ndim != 2 or not 1 <= len(covariance) == covariance.shape[1] or count < 1:
        raise ValueError(f"a square covariance and observations are needed, got {covariance.shape} and {count}")
    if not np.isfinite(fourth_moment):
        raise ValueError(f"a finite fourth moment is needed, got {fourth_moment}")
    dim = len(covariance)
    scale = float(np.trace(covariance)) / dim
    squared_norm = float(np.einsum("ij,ij->", covariance, covariance))
    spread = squared_norm - dim * scale * scale
    noise = max(fourth_moment - squared_norm, 0.0) / count
    intensity = 1.0 if spread <= noise else noise / spread
    shrunk = (1.0 - intensity) * covariance
    shrunk[np.diag_indices(dim)] += intensity * scale
    return shrunk, intensity
