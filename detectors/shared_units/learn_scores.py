"""What each input says, by the scores that the suspicious ones among the other inputs have in common.

Which of the densities' scores an attack raises differs: a patch makes features strange, a warp makes them another
class'. The default weighs all alike, as it must for an input by itself; a batch tells. For the inputs of a part,
the suspects are those of the *other* parts that few clean images of the *other* calibration folds are as suspicious as,
and the scores are weighted by what distinguishes these suspects from those images: Fisher's linear discriminant. So
an input has no say in what it is judged by, nor have the clean images that it is compared with, as in
:mod:`~detectors.shared_units.learn`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.judge import Calibration
from detectors.calibration.plan import CalibrationPlan
from detectors.shared_units.combine import Surprise

SUSPICIOUS = 0.02
"""Share of the clean images that are as suspicious as a suspect."""
MIN_SUSPECTS = 5
MIN_PURITY = 0.2
"""Suspects of which fewer are more than clean images would give say nothing."""
RIDGE = 0.3
"""Of the scores' mean variance, added to each: they are as many as 36, of as few as twenty images."""
LEAST, MOST = -4.0, 8.0
"""Standardised scores are cut here: a few wild images must not set the weights."""


@dataclass(frozen=True)
class CleanScores:
    """What is kept of the clean images' scores.

    Attributes:
        z: ``(n, S)`` float64, standardised scores of each clean image by its fold, those that enter the combined one.
        scored: ``(n,)`` bool, for which images there are any: those that no density saw.
        combined: ``(n,)`` float64, their combined score.
        folds: ``(n,)`` int64, calibration fold; -1 for an image that calibrates nothing.

    Raises:
        ValueError: If lengths differ, a score is not finite, or an image that calibrates has none.

    Example:
        >>> CleanScores(np.zeros((3, 2)), np.ones(3, bool), np.zeros(3), np.zeros(3, int)).z.shape
        (3, 2)

    References:
        docs/method.md, section Scores of suspects.
    """

    z: NDArray[np.float64]
    scored: NDArray[np.bool_]
    combined: NDArray[np.float64]
    folds: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        each = self.folds.shape
        if self.z.ndim != 2 or self.z.shape[:1] != each or self.scored.shape != each or self.combined.shape != each:
            raise ValueError(
                f"scores (n, S), and of each image whether it has any, a combined score and a fold are needed, got "
                f"{self.z.shape}, {self.scored.shape}, {self.combined.shape} and {self.folds.shape}"
            )
        if not np.isfinite(self.z).all() or not self.scored[self.folds >= 0].all():
            raise ValueError("finite scores of all images that calibrate are needed")

    def take(self, rows: NDArray[np.int64]) -> CleanScores:
        """Those of some images."""
        return CleanScores(self.z[rows], self.scored[rows], self.combined[rows], self.folds[rows])

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
        docs/method.md, section Scores of suspects.
    """
    count, unseen = len(plan.folds), plan.unseen()
    if len(scores) != len(unseen):
        raise ValueError(f"scores of {len(unseen)} images are needed, got {scores.shape}")
    folds = np.full(count, -1)
    folds[plan.calibration_rows()] = plan.calibration_folds()
    z = np.zeros((count, int(calibration.enters.sum())))
    combined, scored = np.zeros(count), np.zeros(count, bool)
    z[unseen] = calibration.entering(scores)
    combined[unseen] = calibration.combine_entering(z[unseen])
    scored[unseen] = True
    return CleanScores(z, scored, combined, folds)


@dataclass(frozen=True)
class Weighting:
    """Weights of the scores for one part of the batch and one fold.

    Attributes:
        weights: ``(S,)`` float64.
        purity: Share of the suspects that clean images do not account for; what the weighted sum says counts so much.
        surprise: Turns the weighted sum into nats, by the other folds' clean images.

    Example:
        >>> weighting = Weighting(np.array([1.0, 0.0]), 0.5, Surprise(np.array([0.0, 1.0])))
        >>> weighting(np.array([[1.0, 7.0]])).round(3)
        array([0.549])

    References:
        Fisher (1936), The use of multiple measurements in taxonomic problems, Annals of Eugenics 7, 179-188.
    """

    weights: NDArray[np.float64]
    purity: float
    surprise: Surprise

    def __call__(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Nats ``(N,)`` of standardised scores ``(N, S)``; infinity is cut like every large one."""
        return self.purity * self.surprise(weighted_sum(z, self.weights))


def weighted_sum(z: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted sums ``(N,)`` of scores ``(N, S)`` that are cut at :data:`LEAST` and :data:`MOST`.

    Raises:
        ValueError: If there are not as many scores.

    Example:
        >>> weighted_sum(np.array([[1.0, np.inf]]), np.array([2.0, 1.0]))
        array([10.])

    References:
        docs/method.md, section Scores of suspects.
    """
    if z.ndim != 2 or z.shape[1:] != weights.shape:
        raise ValueError(f"scores (N, {len(weights)}) are needed, got {z.shape}")
    total = np.zeros(len(z))
    # One score after the other: a product of matrices rounds a row by how many rows there are.
    for column, weight in zip(np.clip(z, LEAST, MOST).T, weights, strict=True):
        total += weight * column
    return total


@dataclass(frozen=True)
class LearnedScores:
    """Weightings for every part of the batch and every fold of the calibration.

    Attributes:
        weightings: ``P`` times ``K``; None where there are too few suspects.

    Example:
        >>> LearnedScores(((None,),)).score(np.zeros((2, 1, 3)), np.zeros(2, int)).tolist()
        [[0.0], [0.0]]

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """

    weightings: tuple[tuple[Weighting | None, ...], ...]

    def score(self, z: NDArray[np.float64], parts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Nats ``(N, K)`` of inputs, by the weights of their part.

        Args:
            z: ``(N, K, S)`` standardised scores, by every fold.
            parts: ``(N,)`` part of each.

        Raises:
            ValueError: If lengths differ.
        """
        folds = len(self.weightings[0])
        if z.ndim != 3 or z.shape[1] != folds or parts.shape != z.shape[:1]:
            raise ValueError(f"scores (N, {folds}, S) and parts (N,) are needed, got {z.shape} and {parts.shape}")
        result = np.zeros(z.shape[:2])
        for part in np.unique(parts):
            rows = parts == part
            for fold, weighting in enumerate(self.weightings[part]):
                if weighting is not None:
                    result[rows, fold] = weighting(z[rows, fold])
        return result

    def clean_scores(self, clean: CleanScores) -> NDArray[np.float64]:
        """Nats ``(n, P)`` of the clean images, by the weights of their own fold; NaN for those that calibrate nothing.

        Args:
            clean: What the weights were learned with.
        """
        result = np.full((len(clean.folds), len(self.weightings)), np.nan)
        for part, by_fold in enumerate(self.weightings):
            for fold, weighting in enumerate(by_fold):
                rows = clean.folds == fold
                result[rows, part] = 0.0 if weighting is None else weighting(clean.z[rows])
        return result


def learn_scores(
    clean: CleanScores, combined: NDArray[np.float64], z: NDArray[np.float64], parts: NDArray[np.int64]
) -> LearnedScores:
    """Weigh the scores for every part and fold.

    Args:
        clean: Of the clean images.
        combined: ``(N, K)`` combined scores of the batch, or of a sample of it, by every fold.
        z: ``(N, K, S)`` standardised scores, those that enter the combined one.
        parts: ``(N,)`` parts of those inputs, 0 to P - 1; how they are numbered must not depend on what is in them.

    Raises:
        ValueError: If shapes do not fit together, or there are fewer than two parts.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> clean, inputs = generator.normal(size=(100, 2)), generator.normal(size=(100, 1, 2))
        >>> inputs[::2, 0, 1] += 3
        >>> zeros, fifths, fold = np.zeros(100, int), np.arange(100) // 2 % 5, np.arange(100) % 2 - 1
        >>> known = CleanScores(clean, np.ones(100, bool), clean.max(1), fold)
        >>> learned = learn_scores(known, inputs.max(2), inputs, fifths)
        >>> first = learned.weightings[0][0]
        >>> bool(first.weights[1] > 3 * abs(first.weights[0]))
        True

    References:
        Fisher (1936), The use of multiple measurements in taxonomic problems, Annals of Eugenics 7, 179-188.
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """
    folds = int(clean.folds.max()) + 1
    if combined.shape != (len(parts), folds) or z.shape != (*combined.shape, clean.z.shape[1]):
        raise ValueError(
            f"combined scores (N, {folds}), scores (N, {folds}, {clean.z.shape[1]}) and parts (N,) are needed, got "
            f"{combined.shape}, {z.shape} and {parts.shape}"
        )
    if np.unique(parts).size < 2 or parts.min() < 0:
        raise ValueError(f"two parts or more, numbered from 0, are needed, got {np.unique(parts).tolist()}")
    weightings = []
    for part in range(int(parts.max()) + 1):
        others = parts != part
        weightings.append(
            tuple(_weighting(clean, fold, combined[others, fold], z[others, fold]) for fold in range(folds))
        )
    return LearnedScores(tuple(weightings))


def _weighting(
    clean: CleanScores, fold: int, combined: NDArray[np.float64], z: NDArray[np.float64]
) -> Weighting | None:
    """Weights for one fold, by inputs ``(N,)`` and ``(N, S)``; None where they say nothing."""
    rows = clean.others(fold)
    if len(rows) < MIN_SUSPECTS:
        return None
    ordinary, own = np.clip(clean.z[rows], LEAST, MOST), clean.combined[rows]
    rank = int(np.ceil((1 - SUSPICIOUS) * len(own))) - 1
    limit = np.sort(own)[rank]
    suspects = np.clip(z[combined > limit], LEAST, MOST)
    expected = SUSPICIOUS * len(combined)
    if len(suspects) < max(MIN_SUSPECTS, expected / (1 - MIN_PURITY)):
        return None
    purity = 1 - expected / len(suspects)
    difference = suspects.mean(0) - ordinary.mean(0)
    if (as_high := own > limit).any():  # what clean images among the suspects account for
        difference -= (1 - purity) * (ordinary[as_high].mean(0) - ordinary.mean(0))
    off = ordinary - ordinary.mean(0)
    covariance = np.einsum("ns,nt->st", off, off) / max(1, len(off) - 1)
    covariance += RIDGE * max(float(np.diag(covariance).mean()), 1e-12) * np.eye(len(covariance))
    weights = np.linalg.solve(covariance, difference)
    return Weighting(weights, purity, Surprise(np.sort(weighted_sum(ordinary, weights))))
