"""Put scores of different layers on one scale, so that their evidence can be combined.

Each score becomes ``z = (t(s) - location) / scale`` with the median and a robust scale of the
calibration scores. Scores with a lower bound are taken on a logarithmic scale first
(``t(s) = log(s - bound)``): squared distances are skewed, and their logarithms nearly are not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAD_TO_SIGMA = 1.4826022185056018
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
    """

    bounds: NDArray[np.float64]
    locations: NDArray[np.float64]
    scales: NDArray[np.float64]

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standardise scores ``(..., S)``."""
        return (_transform(scores, self.bounds) - self.locations) / self.scales


def fit_standardiser(scores: NDArray[np.float64], bounds: NDArray[np.float64]) -> Standardiser:
    """Fit on clean scores ``(n, S)``; ``bounds`` as in :class:`Standardiser`.

    The scale is 1.4826 times the median absolute deviation, which equals the standard deviation
    for a Gaussian; a score that is constant on the calibration set, up to rounding, gets scale 1.

    Raises:
        ValueError: If the shapes do not fit together, or there is no score or no image.
    """
    if scores.ndim != 2 or 0 in scores.shape or bounds.shape != scores.shape[1:]:
        raise ValueError(f"scores (n, S) and bounds (S,) are needed, got {scores.shape} and {bounds.shape}")
    transformed = _transform(scores, bounds)
    locations = np.median(transformed, axis=0)
    scales = MAD_TO_SIGMA * np.median(np.abs(transformed - locations), axis=0)
    return Standardiser(bounds, locations, np.where(scales > np.where(np.isnan(bounds), FLOOR, CONSTANT), scales, 1.0))


def _transform(scores: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    bounded = ~np.isnan(bounds)
    shifted = np.maximum(scores - np.where(bounded, bounds, 0.0), FLOOR)
    return np.where(bounded, np.log(shifted), scores)
