"""Which images calibrate, and which the densities may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.folds import stratified_folds
from detectors.calibration.judge import Calibration, calibrate
from detectors.calibration.standardise import fit_standardiser

FOLDS = 5
SPLIT_FROM = 2000
SPLIT_FROM_PER_CLASS = 40


@dataclass(frozen=True)
class CalibrationPlan:
    """Roles of the reference images.

    ``cross-fit``: every image calibrates, scored by a density fitted without its fold, and a scan
    uses the density fitted on all. Fold scores come from slightly smaller fits, so the p-values are
    slightly conservative; they are not exactly uniform.

    ``split``: half the images fit the densities, a tenth the standardisation, the rest calibrate.
    Under exchangeability the p-values are then exactly uniform.

    Attributes:
        method: Which of the two.
        folds: ``(N,)`` fold of every image (``cross-fit``), or its role (``split``): 0 fits, 1
            standardises, 2 calibrates.
    """

    method: Literal["cross-fit", "split"]
    folds: NDArray[np.int64]

    def unseen(self) -> NDArray[np.int64]:
        """Rows of the images that get a clean score: all of them, or those that do not fit (``split``)."""
        return np.flatnonzero(self.folds > 0) if self.method == "split" else np.arange(len(self.folds))


def plan_calibration(classes: NDArray[np.int64], seed: int) -> CalibrationPlan:
    """Split where the reference is large enough for both jobs, cross-fit otherwise.

    Args:
        classes: ``(N,)`` classes of the reference images.
        seed: Seeds the assignment.
    """
    counts = np.unique(classes, return_counts=True)[1]
    if len(classes) >= SPLIT_FROM and counts.min() >= SPLIT_FROM_PER_CLASS:
        tenths = stratified_folds(classes, 10, seed)
        return CalibrationPlan("split", np.where(tenths < 5, 0, np.where(tenths == 5, 1, 2)))
    return CalibrationPlan("cross-fit", stratified_folds(classes, min(FOLDS, len(classes)), seed))


def calibrate_by_plan(
    scores: NDArray[np.float64],
    bounds: NDArray[np.float64],
    plan: CalibrationPlan,
    sharpness: float,
    enters: NDArray[np.bool_],
) -> Calibration:
    """Standardise and calibrate clean scores.

    Args:
        scores: ``(M, S)`` scores of ``plan.unseen()``, in that order.
        bounds: ``(S,)`` lower bounds, as in :class:`~detectors.calibration.standardise.Standardiser`.
        plan: Roles of the images.
        sharpness: Of the soft maximum.
        enters: ``(S,)`` bool, which scores enter the combined one.
    """
    if plan.method == "cross-fit":
        return calibrate(scores, fit_standardiser(scores, bounds), sharpness, enters)
    roles = plan.folds[plan.folds > 0]
    return calibrate(scores[roles == 2], fit_standardiser(scores[roles == 1], bounds), sharpness, enters)
