"""Put scores of different layers on one scale, so that their evidence can be combined.

Each score becomes ``z = (t(s) - location) / scale`` with the median and a robust scale of the
calibration scores. Scores with a lower bound are taken on a logarithmic scale first
(``t(s) = log(s - bound)``): squared distances are skewed, and their logarithms nearly are not.

The scale is that of the upper half alone. High scores are what is looked for, and layers differ in how far those of
clean images reach: one in which a twentieth of them lies far out must not outshout the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

MAD_TO_SIGMA = 1.4826022185056018
UPPER_QUANTILE = 0.95
SCORES_ABOVE = 10
"""Scores that must lie above the quantile that sets the scale. With fewer, it is the largest few that set it, and an
image among them shrinks its own score, as a new one does not."""
LEAST_QUANTILE = 0.75
FLOOR = 1e-12
CONSTANT = 1e-4
"""A score on the logarithmic scale that varies by less than this is rounding: an error of reconstruction, say, where
the features have no more dimensions than are kept."""


@dataclass(frozen=True)
class Standardiser:
    """Transformation of ``S`` scores.

    Attributes:
        bounds: ``(S,)`` float64 lower bounds; NaN for scores without one, which stay linear.
        locations: ``(S,)`` float64 medians after the transformation.
        scales: ``(S,)`` float64 robust scales, positive.

    Raises:
        ValueError: If shapes differ, a bound is infinite, or a scale not positive and finite.

    Example:
        >>> Standardiser(np.array([np.nan]), np.array([1.0]), np.array([2.0]))(np.array([[5.0]]))
        array([[2.]])

    References:
        Rousseeuw and Croux (1993), Alternatives to the median absolute deviation, Journal of the American Statistical
        Association 88, 1273-1283, section 1.
    """

    bounds: NDArray[np.float64]
    locations: NDArray[np.float64]
    scales: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what would give scores that mean nothing."""
        shapes = [part.shape for part in (self.bounds, self.locations, self.scales)]
        if self.bounds.ndim != 1 or len(set(shapes)) > 1:
            raise ValueError(f"bounds, locations and scales (S,) are needed, got shapes {shapes}")
        if np.isinf(self.bounds).any() or not (np.isfinite(self.scales) & (self.scales > 0)).all():
            raise ValueError(f"bounds must be finite or NaN and scales positive, got {self.bounds} and {self.scales}")

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standardise scores ``(..., S)``.

        .. math:: z = (t(s) - \\mathrm{location}) / \\mathrm{scale}, \\quad t(s) = \\log(s - \\mathrm{bound})

        and ``t(s) = s`` where there is no bound.

        Raises:
            ValueError: If there are not as many scores.
        """
        if scores.shape[-1:] != self.bounds.shape:
            raise ValueError(f"scores (..., {len(self.bounds)}) are needed, got {scores.shape}")
        return (_transform(scores, self.bounds) - self.locations) / self.scales


def fit_standardiser(scores: NDArray[np.float64], bounds: NDArray[np.float64]) -> Standardiser:
    """Fit on clean scores ``(n, S)``; ``bounds`` as in :class:`Standardiser`.

    .. math:: \\mathrm{scale} = (q_{0.95}(t(s)) - \\mathrm{med}\\,t(s)) / 1.6449

    which equals the standard deviation for a Gaussian. With fewer than 200 images the quantile, and what it is
    divided by, are those of ``1 - 10 / n``. With fewer than 40, or where so many scores are the same that this is
    zero, it is 1.4826 times the median absolute deviation. A score that is constant on the calibration set, up to
    rounding, gets scale 1.

    Raises:
        ValueError: If the shapes do not fit together, there is no score or no image, or a bound is infinite.

    Example:
        >>> fitted = fit_standardiser(np.array([[1.0], [2.0], [4.0]]), np.array([np.nan]))
        >>> float(fitted.locations[0]), round(float(fitted.scales[0]), 4)
        (2.0, 1.4826)

    References:
        Rousseeuw and Croux (1993), Alternatives to the median absolute deviation, Journal of the American Statistical
        Association 88, 1273-1283, section 1.
    """
    if scores.ndim != 2 or 0 in scores.shape or bounds.shape != scores.shape[1:]:
        raise ValueError(f"scores (n, S) and bounds (S,) are needed, got {scores.shape} and {bounds.shape}")
    if np.isinf(bounds).any():
        raise ValueError(f"bounds must be finite or NaN, got {bounds}")
    transformed = _transform(scores, bounds)
    locations = np.median(transformed, axis=0)
    upper = np.zeros(len(bounds))
    quantile = min(UPPER_QUANTILE, 1.0 - SCORES_ABOVE / len(scores))
    if quantile >= LEAST_QUANTILE:
        upper = (np.quantile(transformed, quantile, axis=0) - locations) / NormalDist().inv_cdf(quantile)
    middle = MAD_TO_SIGMA * np.median(np.abs(transformed - locations), axis=0)
    least = np.where(np.isnan(bounds), FLOOR, CONSTANT)
    return Standardiser(bounds, locations, np.where(upper > least, upper, np.where(middle > least, middle, 1.0)))


def _transform(scores: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    bounded = ~np.isnan(bounds)
    shifted = np.maximum(scores - np.where(bounded, bounds, 0.0), FLOOR)
    return np.where(bounded, np.log(shifted), scores)
