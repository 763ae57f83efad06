"""What is kept of the clean images' scores, to tell which inputs of a batch are suspects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.judge import Calibration
from detectors.calibration.plan import CalibrationPlan


@dataclass(frozen=True)
class CleanScores:
    """What is kept of the clean images' scores.

    Attributes:
        combined: ``(n,)`` float64, combined score of each clean image by its fold.
        scored: ``(n,)`` bool, for which images there is one: those that no density saw.
        folds: ``(n,)`` int64, calibration fold; -1 for an image that calibrates nothing.

    Raises:
        ValueError: If lengths differ, a score is not finite, or an image that calibrates has none.

    Example:
        >>> CleanScores(np.zeros(3), np.ones(3, bool), np.array([0, 0, 1])).others(0)
        array([2])

    References:
        docs/method.md, section Direction of suspects.
    """

    combined: NDArray[np.float64]
    scored: NDArray[np.bool_]
    folds: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        if self.folds.ndim != 1 or not self.combined.shape == self.scored.shape == self.folds.shape:
            raise ValueError(
                "of each image a combined score, whether it has any and a fold are needed, got "
                f"{self.combined.shape}, {self.scored.shape} and {self.folds.shape}"
            )
        if not np.isfinite(self.combined).all() or not self.scored[self.folds >= 0].all():
            raise ValueError("finite scores of all images that calibrate are needed")

    def take(self, rows: NDArray[np.int64]) -> CleanScores:
        """Those of some images."""
        return CleanScores(self.combined[rows], self.scored[rows], self.folds[rows])

    def others(self, fold: int) -> NDArray[np.int64]:
        """Rows of the scored images that are not of this fold."""
        return np.flatnonzero(self.scored & (self.folds != fold))


def clean_scores(plan: CalibrationPlan, calibration: Calibration, scores: NDArray[np.float64]) -> CleanScores:
    """What is kept of the scores of a reference of ``n`` images.

    Args:
        plan: Roles of the images.
        calibration: Of their scores.
        scores: ``(M, S)`` scores of ``plan.unseen()``, in that order.

    Raises:
        ValueError: If there are not as many scores.

    Example:
        >>> from detectors.calibration.plan import calibrate_by_plan, plan_calibration
        >>> scores, plan = np.arange(1.0, 11.0)[:, None], plan_calibration(np.arange(10) % 2, seed=0)
        >>> calibration = calibrate_by_plan(scores, np.zeros(1), plan, 2.0, np.ones(1, bool))
        >>> clean_scores(plan, calibration, scores).folds.max()
        np.int64(4)

    References:
        docs/method.md, section Direction of suspects.
    """
    count, unseen = len(plan.folds), plan.unseen()
    if len(scores) != len(unseen):
        raise ValueError(f"scores of {len(unseen)} images are needed, got {scores.shape}")
    folds = np.full(count, -1)
    folds[plan.calibration_rows()] = plan.calibration_folds()
    combined, scored = np.zeros(count), np.zeros(count, bool)
    combined[unseen] = calibration.combine(scores)
    scored[unseen] = True
    return CleanScores(combined, scored, folds)
