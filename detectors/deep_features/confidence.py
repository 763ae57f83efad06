"""Scores given how sure the network is.

A network that is unsure of a picture has seen nothing like it, and every score of the picture is high. A backdoor makes
the network sure of a picture whose features say something else. So a score is compared with what it usually is at that
confidence: what an unsure prediction explains is taken off, and what a sure one makes stranger is added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.standardise import fit_standardiser

LARGEST = 5.0
"""Standardised scores are cut here before the slope is fitted: a few wild images must not set it."""

CONSTANT = 1e-9
"""Confidences within this share of their size are one number and rounding."""


@dataclass(frozen=True)
class ConfidenceSlopes:
    """How ``S`` scores of clean images fall as the network's confidence rises.

    Attributes:
        slopes: ``(S,)`` float64, at least 0: what a score, on its own scale, falls by for each nat of confidence.
        centre: Mean confidence of the clean images, in nats.
        low: Their least confidence: below it nothing is known, and less is taken for it.
        high: Their greatest one.
        bounds: ``(S,)`` lower bounds of the scores; NaN where there is none.

    Raises:
        ValueError: If shapes differ, a slope is negative, or the three numbers are not finite and in order.

    Example:
        >>> slopes = ConfidenceSlopes(np.array([0.5]), 2.0, 0.0, 4.0, np.array([np.nan]))
        >>> slopes(np.array([[1.0], [1.0]]), np.array([4.0, 0.0])).tolist()
        [[2.0], [0.0]]

    References:
        docs/method.md, section Scores.
    """

    slopes: NDArray[np.float64]
    centre: float
    low: float
    high: float
    bounds: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what would give scores that mean nothing."""
        if self.slopes.ndim != 1 or self.slopes.shape != self.bounds.shape or not (self.slopes >= 0).all():
            raise ValueError(f"slopes (S,) >= 0 of {self.bounds.shape} scores are needed, got {self.slopes}")
        if not -np.inf < self.low <= self.centre <= self.high < np.inf:
            raise ValueError(f"finite low <= centre <= high are needed, got {self.low}, {self.centre}, {self.high}")

    def __call__(self, scores: NDArray[np.float64], confidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores ``(N, ..., S)`` as they would be at the centre, given confidences ``(N,)``.

        .. math:: s' = b + (s - b) \\, e^{\\beta (m - \\bar m)}, \\qquad s' = s + \\beta (m - \\bar m)

        with and without a lower bound ``b``, where ``m`` is the confidence, cut to what clean images have.

        Raises:
            ValueError: If there are not as many scores, or not a confidence for each input.
        """
        if scores.shape[-1:] != self.slopes.shape or confidence.shape != scores.shape[:1]:
            raise ValueError(
                f"scores (N, ..., {len(self.slopes)}) and a confidence of each input are needed, got {scores.shape} "
                f"and {confidence.shape}"
            )
        off = (np.clip(confidence, self.low, self.high) - self.centre).reshape(-1, *(1,) * (scores.ndim - 1))
        bounded = ~np.isnan(self.bounds)
        bounds = np.where(bounded, self.bounds, 0.0)
        scaled = bounds + (scores - bounds) * np.exp(np.where(bounded, self.slopes, 0.0) * off)
        return np.where(bounded, scaled, scores + self.slopes * off)


def fit_confidence_slopes(
    scores: NDArray[np.float64], bounds: NDArray[np.float64], confidence: NDArray[np.float64]
) -> ConfidenceSlopes:
    """Fit on clean scores ``(n, S)`` and confidences ``(n,)``; ``bounds`` as in :class:`ConfidenceSlopes`.

    Least squares on standardised scores (on a logarithmic scale where they are bounded), cut at :data:`LARGEST`. A
    score that rises with confidence gets slope 0: that a sure network sees more of everything excuses nothing.

    Raises:
        ValueError: If shapes do not fit together, or there is no image.

    Example:
        >>> confidence = np.arange(100.0)
        >>> fit_confidence_slopes(-2.0 * confidence[:, None], np.array([np.nan]), confidence).slopes.round(3).tolist()
        [2.0]

    References:
        docs/method.md, section Scores.
    """
    if confidence.ndim != 1 or scores.shape[:1] != confidence.shape:
        raise ValueError(f"scores (n, S) and confidences (n,) are needed, got {scores.shape} and {confidence.shape}")
    standardiser = fit_standardiser(scores, bounds)
    low, high = float(confidence.min()), float(confidence.max())
    if not np.isfinite([low, high]).all():  # one class: there are no odds
        return ConfidenceSlopes(np.zeros(len(bounds)), 0.0, 0.0, 0.0, bounds)
    z = np.clip(standardiser(scores), -LARGEST, LARGEST)
    off = confidence - confidence.mean()
    varies = high - low > CONSTANT * max(abs(low), abs(high))
    rises = off @ (z - z.mean(0)) / (off @ off) if varies else np.zeros(len(bounds))
    centre = min(max(float(confidence.mean()), low), high)
    return ConfidenceSlopes(np.maximum(-rises * standardiser.scales, 0.0), centre, low, high, bounds)
