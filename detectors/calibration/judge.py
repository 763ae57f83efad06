"""Turn raw scores into p-values: per score, and one per input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.combine import soft_maximum
from detectors.calibration.conformal import p_values
from detectors.calibration.standardise import Standardiser


@dataclass(frozen=True)
class Judgement:
    """What a batch of ``N`` inputs gets.

    Attributes:
        score_p_values: ``(N, S)`` conformal p-value of each score.
        z: ``(N, S)`` standardised scores.
        combined: ``(N,)`` combined score, in units of robust standard deviations.
        p_values: ``(N,)`` conformal p-value of the combined score.
    """

    score_p_values: NDArray[np.float64]
    z: NDArray[np.float64]
    combined: NDArray[np.float64]
    p_values: NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Everything that turns scores into p-values.

    Attributes:
        scores: ``(n_cal, S)`` calibration scores, every column sorted ascending.
        combined: ``(n_cal,)`` combined calibration scores, sorted ascending.
        standardiser: Fitted on clean scores.
        sharpness: Of the soft maximum.
        enters: ``(S,)`` bool, which scores enter the combined one; the others only get a p-value.
    """

    scores: NDArray[np.float64]
    combined: NDArray[np.float64]
    standardiser: Standardiser
    sharpness: float
    enters: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """Number of calibration images."""
        return len(self.combined)

    def judge(self, scores: NDArray[np.float64]) -> Judgement:
        """Judge scores ``(N, S)``.

        A score that is not finite (an overflow in the network) counts as the most suspicious.
        """
        clean = np.where(np.isfinite(scores), scores, np.inf)
        per_score = np.stack([p_values(column, clean[:, i]) for i, column in enumerate(self.scores.T)], axis=1)
        z = self.standardiser(clean)
        combined = soft_maximum(z[:, self.enters], self.sharpness)
        return Judgement(per_score, z, combined, p_values(self.combined, combined))

    def loudest(self, z: NDArray[np.float64], count: int) -> NDArray[np.int64]:
        """Which standardised scores contribute most to the combined one, the most first.

        Args:
            z: ``(N, S)``, of :meth:`judge`.
            count: How many; fewer where fewer enter the combined score.

        Returns:
            Their indices, ``(N, min(count, entering scores))``; scores that do not enter are never among them.
        """
        order = np.argsort(-z[:, self.enters], axis=1, kind="stable")[:, :count]
        return np.flatnonzero(self.enters)[order]


def calibrate(
    scores: NDArray[np.float64], standardiser: Standardiser, sharpness: float, enters: NDArray[np.bool_] | None = None
) -> Calibration:
    """Build a calibration from clean scores ``(n_cal, S)`` that no density saw.

    ``enters`` is as in :class:`Calibration`; by default all scores enter.
    """
    enters = np.ones(scores.shape[1], bool) if enters is None else enters
    combined = soft_maximum(standardiser(scores)[:, enters], sharpness)
    return Calibration(np.sort(scores, axis=0), np.sort(combined), standardiser, sharpness, enters)
