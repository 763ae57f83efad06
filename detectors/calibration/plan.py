"""Which images calibrate, and which the densities may see."""

from __future__ import annotations

from collections.abc import Iterator
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

    ``cross-conformal``: every image calibrates, scored by a density fitted without its fold. A scan scores an input by
    the density of every fold, and compares it with that fold's images alone (Vovk 2015).

    ``split``: half the images fit the densities, a tenth the standardisation, the rest calibrate.
    Under exchangeability the p-values are then exactly uniform.

    Raises:
        ValueError: If the method is another, a fold or a role has no image, or there is only one fold.

    Attributes:
        method: Which of the two.
        folds: ``(N,)`` fold of every image (``cross-conformal``), or its role (``split``): 0 fits, 1
            standardises, 2 calibrates.

    Example:
        >>> plan = CalibrationPlan("cross-conformal", np.array([0, 1, 0, 1]))
        >>> [(fits.tolist(), scores.tolist()) for fits, scores in plan.parts()]
        [([1, 3], [0, 2]), ([0, 2], [1, 3])]

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
        Papadopoulos, Proedrou, Vovk and Gammerman (2002), Inductive confidence machines for regression, European
        Conference on Machine Learning, for the split.
    """

    method: Literal["cross-conformal", "split"]
    folds: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse a plan in which a fold or a role has no image."""
        if self.method not in ("cross-conformal", "split"):
            raise ValueError(f"method must be 'cross-conformal' or 'split', got {self.method!r}")
        present = set(np.unique(self.folds).tolist())
        expected = {0, 1, 2} if self.method == "split" else set(range(max(2, len(present))))
        if self.folds.ndim != 1 or present != expected:
            raise ValueError(f"{self.method}: images for {sorted(expected)} are needed, got {sorted(present)[:10]}")

    def unseen(self) -> NDArray[np.int64]:
        """Rows of the images that get a clean score: all of them, or those that do not fit (``split``)."""
        return np.flatnonzero(self.folds > 0) if self.method == "split" else np.arange(len(self.folds))

    def parts(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """For every density the rows that it fits, and those that it scores without having seen them."""
        if self.method == "split":
            yield np.flatnonzero(self.folds == 0), self.unseen()
            return
        for fold in range(int(self.folds.max()) + 1):
            yield np.flatnonzero(self.folds != fold), np.flatnonzero(self.folds == fold)

    def fit_rows(self) -> NDArray[np.int64]:
        """Rows of the images that some density fits."""
        return np.flatnonzero(self.folds == 0) if self.method == "split" else np.arange(len(self.folds))

    def calibration_rows(self) -> NDArray[np.int64]:
        """Rows of the images that inputs are compared with."""
        return np.flatnonzero(self.folds == 2) if self.method == "split" else np.arange(len(self.folds))

    def standardising(self) -> NDArray[np.int64]:
        """Which of :meth:`unseen`, in that order, set the scale of scores: all, or those that nothing else uses."""
        return np.flatnonzero(self.folds[self.unseen()] == 1) if self.method == "split" else self.unseen()

    def calibration_folds(self) -> NDArray[np.int64]:
        """``(n_cal,)`` number of the density that each of :meth:`calibration_rows` is scored by."""
        return np.zeros(int((self.folds == 2).sum()), np.int64) if self.method == "split" else self.folds


def plan_calibration(classes: NDArray[np.int64], seed: int) -> CalibrationPlan:
    """Split where the reference is large enough for both jobs, use every image for both otherwise.

    Args:
        classes: ``(N,)`` classes of the reference images, at least two of them.
        seed: Seeds the assignment.

    Raises:
        ValueError: If there are fewer than two images.

    Example:
        >>> plan_calibration(np.arange(100) % 2, seed=0).method
        'cross-conformal'
        >>> plan_calibration(np.arange(2000) % 2, seed=0).method
        'split'

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
        Papadopoulos, Proedrou, Vovk and Gammerman (2002), Inductive confidence machines for regression, European
        Conference on Machine Learning, for the split.
    """
    if classes.ndim != 1 or len(classes) < 2:
        raise ValueError(f"classes (N,) of at least two images are needed, got shape {classes.shape}")
    counts = np.unique(classes, return_counts=True)[1]
    if len(classes) >= SPLIT_FROM and counts.min() >= SPLIT_FROM_PER_CLASS:
        tenths = stratified_folds(classes, 10, seed)
        return CalibrationPlan("split", np.where(tenths < 5, 0, np.where(tenths == 5, 1, 2)))
    return CalibrationPlan("cross-conformal", stratified_folds(classes, min(FOLDS, len(classes)), seed))


def calibrate_by_plan(
    scores: NDArray[np.float64],
    bounds: NDArray[np.float64],
    plan: CalibrationPlan,
    sharpness: float,
    enters: NDArray[np.bool_],
    contradicts: NDArray[np.bool_] | None = None,
) -> Calibration:
    """Standardise and calibrate clean scores.

    Args:
        scores: ``(M, S)`` scores of ``plan.unseen()``, in that order.
        bounds: ``(S,)`` lower bounds, as in :class:`~detectors.calibration.standardise.Standardiser`.
        plan: Roles of the images.
        sharpness: Of the soft maximum.
        enters: ``(S,)`` bool, which scores enter the combined one.
        contradicts: ``(S,)`` bool, which say that features are another class'; by default none.

    Raises:
        ValueError: If the shapes do not fit together.

    Example:
        >>> scores = np.arange(1.0, 11.0)[:, None]
        >>> plan = plan_calibration(np.arange(10) % 2, seed=0)
        >>> calibration = calibrate_by_plan(scores, np.zeros(1), plan, 2.0, np.ones(1, bool))
        >>> calibration.size, calibration.num_folds
        (10, 5)

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """
    unseen = plan.unseen()
    if scores.shape[:1] != unseen.shape:
        raise ValueError(f"scores of {len(unseen)} images are needed, got shape {scores.shape}")
    calibrate_on = scores[plan.folds[unseen] == 2] if plan.method == "split" else scores
    standardiser = fit_standardiser(scores[plan.standardising()], bounds)
    return calibrate(calibrate_on, plan.calibration_folds(), standardiser, sharpness, enters, contradicts)
