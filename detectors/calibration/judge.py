"""Turn raw scores into p-values: per score, and one per input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.combine import combine_kinds
from detectors.calibration.conformal import p_values
from detectors.calibration.standardise import Standardiser


@dataclass(frozen=True)
class Judgement:
    """What a batch of ``N`` inputs gets.

    Attributes:
        scores: ``(N, K, S)`` what was judged, with infinity for what is not finite.
        z: ``(N, S)`` standardised scores, averaged over folds.
        combined: ``(N,)`` combined score, averaged over folds, in units of robust standard deviations.
        p_values: ``(N,)`` conformal p-value of the combined score.
        calibration: What they were judged by.

    Example:
        >>> from detectors.calibration.standardise import fit_standardiser
        >>> clean = np.arange(1.0, 10.0)[:, None]
        >>> standardiser = fit_standardiser(clean, np.zeros(1))
        >>> judged = calibrate(clean, np.zeros(9, np.int64), standardiser, 2.0).judge(np.array([[[50.0]]]))
        >>> judged.p_values, judged.score_p_values
        (array([0.1]), array([[0.1]]))

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """

    scores: NDArray[np.float64]
    z: NDArray[np.float64]
    combined: NDArray[np.float64]
    p_values: NDArray[np.float64]
    calibration: Calibration

    @cached_property
    def score_p_values(self) -> NDArray[np.float64]:
        """``(N, S)`` conformal p-value of each score. They take longer than all else, and few readers ask for them."""
        columns = self.calibration.columns
        return np.stack([p_values(folds, self.scores[:, :, i]) for i, folds in enumerate(columns)], axis=1)


@dataclass(frozen=True)
class Calibration:
    """Everything that turns scores into p-values.

    Attributes:
        scores: ``(n_cal, S)`` calibration scores, fold after fold, every column sorted ascending within each.
        combined: ``(n_cal,)`` combined calibration scores, in the same order of folds and sorted within each.
        fold_sizes: ``(K,)`` int64, calibration images of each fold, none of them zero.
        standardiser: Fitted on clean scores.
        sharpness: Of the soft maximum.
        enters: ``(S,)`` bool, which scores enter the combined one; the others only get a p-value.
        contradicts: ``(S,)`` bool, which say that features are another class', and are combined by themselves.

    Raises:
        ValueError: If shapes do not fit together, or a fold has no image.

    Example:
        >>> from detectors.calibration.standardise import fit_standardiser
        >>> clean = np.arange(1.0, 10.0)[:, None]
        >>> standardiser = fit_standardiser(clean, np.zeros(1))
        >>> calibration = calibrate(clean, np.zeros(9, np.int64), standardiser, 2.0)
        >>> calibration.judge(np.array([[[5.0]], [[0.5]]])).p_values
        array([0.6, 1. ])

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """

    scores: NDArray[np.float64]
    combined: NDArray[np.float64]
    fold_sizes: NDArray[np.int64]
    standardiser: Standardiser
    sharpness: float
    enters: NDArray[np.bool_]
    contradicts: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together; whether they are sorted is not looked at."""
        size, sizes = len(self.combined), self.fold_sizes
        expected = (size, len(self.standardiser.bounds))
        kinds = self.enters.shape, self.contradicts.shape
        if self.scores.shape != expected or 0 in expected or kinds != (expected[1:],) * 2:
            raise ValueError(
                f"scores (n, S), combined (n,), enters and contradicts (S,) of S = {expected[1]} are needed, got "
                f"{self.scores.shape}, {self.combined.shape} and {kinds}"
            )
        if sizes.ndim != 1 or (sizes < 1).any() or sizes.sum() != size:
            raise ValueError(f"sizes of folds that sum to {size} are needed, got {sizes.tolist()[:10]}")

    @property
    def size(self) -> int:
        """Number of calibration images."""
        return len(self.combined)

    @property
    def num_folds(self) -> int:
        """Number of folds ``K``; 1 for a split."""
        return len(self.fold_sizes)

    @cached_property
    def combined_by_fold(self) -> list[NDArray[np.float64]]:
        """:attr:`combined` of each fold."""
        return np.split(self.combined, np.cumsum(self.fold_sizes)[:-1])

    @cached_property
    def columns(self) -> list[list[NDArray[np.float64]]]:
        """For every score its sorted values in each fold, contiguous: searching strided ones copies them."""
        folds = np.split(self.scores, np.cumsum(self.fold_sizes)[:-1])
        return [[np.ascontiguousarray(fold[:, index]) for fold in folds] for index in range(self.scores.shape[1])]

    def entering(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standardised scores ``(..., E)`` that enter the combined one, of scores ``(..., S)``.

        Raises:
            ValueError: If there are not as many scores.
        """
        return self.standardiser(_finite(scores))[..., self.enters]

    def combine(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Combined score ``(..., K)`` of scores ``(..., K, S)``.

        Raises:
            ValueError: If there are not as many scores.
        """
        return self.combine_entering(self.entering(scores))

    def combine_entering(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Combined score ``(...)`` of what :meth:`entering` gives, ``(..., E)``.

        Raises:
            ValueError: If there are not as many scores.
        """
        flat = z.reshape(-1, z.shape[-1])
        return combine_kinds(flat, self.contradicts[self.enters], self.sharpness).reshape(z.shape[:-1])

    def judge(self, scores: NDArray[np.float64]) -> Judgement:
        """Judge scores ``(N, K, S)``, those of fold ``k`` at ``[:, k]``.

        A score that is not finite (an overflow in the network) counts as the most suspicious.

        Raises:
            ValueError: If the scores are of another number of folds or of other scores.
        """
        expected = (self.num_folds, self.scores.shape[1])
        if scores.shape[1:] != expected:
            raise ValueError(f"scores (N, {expected[0]}, {expected[1]}) are needed, got {scores.shape}")
        clean = _finite(scores)
        combined = self.combine(clean)
        p = p_values(self.combined_by_fold, combined)
        return Judgement(clean, self.standardiser(clean).mean(1), combined.mean(1), p, self)

    def loudest(self, z: NDArray[np.float64], count: int) -> NDArray[np.int64]:
        """Which standardised scores contribute most to the combined one, the most first.

        Args:
            z: ``(N, S)``, of :meth:`judge`.
            count: How many; fewer where fewer enter the combined score.

        Returns:
            Their indices, ``(N, min(count, entering scores))``; scores that do not enter are never among them.

        Raises:
            ValueError: If there are not as many scores, or the count is negative.
        """
        if z.ndim != 2 or z.shape[1:] != self.enters.shape or count < 0:
            raise ValueError(f"z (N, {len(self.enters)}) and a count >= 0 are needed, got {z.shape} and {count}")
        order = np.argsort(-z[:, self.enters], axis=1, kind="stable")[:, :count]
        return np.flatnonzero(self.enters)[order]


def _finite(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(scores), scores, np.inf)


def calibrate(
    scores: NDArray[np.float64],
    folds: NDArray[np.int64],
    standardiser: Standardiser,
    sharpness: float,
    enters: NDArray[np.bool_] | None = None,
    contradicts: NDArray[np.bool_] | None = None,
) -> Calibration:
    """Build a calibration from clean scores that no density saw.

    Args:
        scores: ``(n_cal, S)``, each image by the density of its fold.
        folds: ``(n_cal,)`` fold of each image, 0 to K-1, each with an image; all 0 for a split.
        standardiser: Fitted on clean scores.
        sharpness: Of the soft maximum.
        enters: As in :class:`Calibration`; by default all scores enter.
        contradicts: As in :class:`Calibration`; by default none does.

    Raises:
        ValueError: If the scores are not finite, or shapes do not fit, or a fold has no image.

    Example:
        >>> from detectors.calibration.standardise import fit_standardiser
        >>> clean = np.array([[3.0], [1.0], [4.0], [2.0]])
        >>> calibrate(clean, np.array([0, 0, 1, 1]), fit_standardiser(clean, np.zeros(1)), 2.0).scores.ravel()
        array([1., 3., 2., 4.])

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """
    if scores.ndim != 2 or 0 in scores.shape or folds.shape != scores.shape[:1]:
        raise ValueError(f"scores (n, S) and folds (n,) are needed, got {scores.shape} and {folds.shape}")
    if not np.isfinite(scores).all():
        raise ValueError(f"{int((~np.isfinite(scores)).any(1).sum())} clean images have scores that are not finite")
    if folds.min() < 0:
        raise ValueError(f"folds are numbered from 0, got {folds.min()}")
    sizes = np.bincount(folds)
    if not sizes.all():
        raise ValueError(f"fold {int(sizes.argmin())} of {len(sizes)} has no image")
    enters = np.ones(scores.shape[1], bool) if enters is None else enters
    contradicts = np.zeros(scores.shape[1], bool) if contradicts is None else contradicts
    if (enters.shape, contradicts.shape) != (scores.shape[1:],) * 2:
        raise ValueError(
            f"enters and contradicts ({scores.shape[1]},) are needed, got {enters.shape} and {contradicts.shape}"
        )
    combined = combine_kinds(standardiser(scores)[:, enters], contradicts[enters], sharpness)
    members = [np.flatnonzero(folds == fold) for fold in range(len(sizes))]
    return Calibration(
        np.concatenate([np.sort(scores[rows], axis=0) for rows in members]),
        np.concatenate([np.sort(combined[rows]) for rows in members]),
        sizes,
        standardiser,
        sharpness,
        enters,
        contradicts,
    )
