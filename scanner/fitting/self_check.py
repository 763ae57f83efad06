"""What `fit` tries on its own result before it writes a profile: does the final graph do what was calibrated?

A sample of the reference goes through the finished graph, from pixels, as a scan would do it. Each check holds by
construction unless something is wrong, so one that fails is an error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.batch import batch_test
from detectors.calibration.conformal import p_values, rank_limit, smallest_alpha
from detectors.calibration.judge import Calibration
from detectors.calibration.plan import CalibrationPlan
from detectors.deep_features.detector import DeepFeatures
from scanner.base.errors import ModelError
from scanner.profile.header import SelfCheck
from scanner.scoring.agreement import LARGEST_DIFFERENCE, difference

SAMPLE, LEAST_SAMPLE = 128, 64
"""Most and least images that are tried: a few seconds for the largest networks."""
SAMPLE_SHARE = 0.1
"""Share of a small reference that is tried: to run the network on it again costs as much of a fit."""

ALPHA = 0.01
FALSE_ALARM = 1e-4
"""Probability with which a sound profile may fail the check on rescanned images."""

SCORES_AGREE = "scores agree"
RESCANNED = "reference rescanned"
REPRODUCED = "calibration reproduced"


@dataclass(frozen=True)
class Rescan:
    """A sample of the reference as the finished graph scores it.

    Attributes:
        rows: ``(n,)`` which images of the reference.
        scores: ``(n, K, S)`` what the graph gave.
        exact: ``(n, K, S)`` what the densities give in float64 for the features that they were fitted on.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float64]
    exact: NDArray[np.float64]


def sample_rows(images: int) -> NDArray[np.int64]:
    """The images to try, spread evenly over the reference."""
    count = min(SAMPLE, max(LEAST_SAMPLE, int(SAMPLE_SHARE * images)), images)
    return np.unique(np.linspace(0, images - 1, count).astype(np.int64))


def self_checks(rescan: Rescan, detector: DeepFeatures, plan: CalibrationPlan) -> tuple[SelfCheck, ...]:
    """Run all checks.

    Raises:
        ModelError: If one fails; the message names it.
    """
    checks = (
        _scores_agree(rescan, detector),
        _rescanned(rescan, detector.calibration),
        _reproduced(rescan, detector, plan),
    )
    for check in checks:
        if check.statistic > check.threshold:
            raise ModelError(
                f"self-check '{check.name}' failed: {check.message}",
                where="fit",
                hint="Leave the layer out with --layers, or use --device cpu; no profile was written",
            )
    return checks


def _scores_agree(rescan: Rescan, detector: DeepFeatures) -> SelfCheck:
    apart = difference(rescan.scores, rescan.exact, detector.calibration.standardiser)
    worst = int(apart.argmax())
    largest = float(min(apart[worst], np.finfo(np.float64).max))
    return SelfCheck(
        name=SCORES_AGREE,
        message=f"the graph's scores differ from those of the densities by up to {largest:.2g} robust standard "
        f"deviations ({detector.scores[worst].key})",
        statistic=largest,
        threshold=LARGEST_DIFFERENCE,
        n=len(rescan.rows),
    )


def _rescanned(rescan: Rescan, calibration: Calibration) -> SelfCheck:
    """Images that densities were fitted on look no more suspicious than those that they were not fitted on."""
    alpha = max(ALPHA, smallest_alpha(calibration.size))
    flagged = int((calibration.judge(rescan.scores).p_values <= alpha * (1 + 1e-12)).sum())
    allowed = _most_flagged(len(rescan.rows), calibration.size, alpha)
    return SelfCheck(
        name=RESCANNED,
        message=f"{flagged} of {len(rescan.rows)} images of the reference are flagged when they are scanned, at most "
        f"{allowed} may be",
        statistic=flagged,
        threshold=allowed,
        n=len(rescan.rows),
    )


def _most_flagged(images: int, calibration_size: int, alpha: float) -> int:
    """The largest count that new clean images reach with more than a negligible probability."""
    counts = range(rank_limit(calibration_size, alpha), images + 1)
    return next(
        (n - 1 for n in counts if batch_test(n, 0, images, calibration_size, alpha).flagged_p_value < FALSE_ALARM),
        images,
    )


def _reproduced(rescan: Rescan, detector: DeepFeatures, plan: CalibrationPlan) -> SelfCheck:
    """Calibration images get their own p-values back from the density that calibrated them."""
    calibration = detector.calibration
    calibrating = plan.calibration_rows()
    fold_of = np.full(len(plan.folds), -1)
    fold_of[calibrating] = plan.calibration_folds()
    tried = np.flatnonzero(fold_of[rescan.rows] >= 0)
    folds = fold_of[rescan.rows[tried]]
    position = np.full(len(plan.folds), -1)
    position[plan.unseen()] = np.arange(len(plan.unseen()))
    stored = calibration.combine(detector.clean_scores[position[rescan.rows[tried]]][:, None])[:, 0]
    again = calibration.combine(rescan.scores[tried])[np.arange(len(tried)), folds]
    different = 0
    for fold, clean in enumerate(calibration.combined_by_fold):
        mine = folds == fold
        low, high = (_reached(clean, stored[mine] + shift) for shift in (LARGEST_DIFFERENCE, -LARGEST_DIFFERENCE))
        reached = _reached(clean, again[mine])
        different += int(((reached < low) | (reached > high)).sum())
    return SelfCheck(
        name=REPRODUCED,
        message=f"{different} of {len(tried)} calibration images do not get their own p-value back from the graph",
        statistic=different,
        threshold=0,
        n=len(tried),
    )


def _reached(clean: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return p_values([clean], scores[:, None])
