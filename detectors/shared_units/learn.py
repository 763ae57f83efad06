"""What each input says, by the units that other inputs chose.

The batch is cut into parts. For the inputs of a part, the units are those that speak up most in the inputs of the
*other* parts, against clean images; an input has no say in what it is judged by. Clean images are treated alike: an
input and the clean images of one calibration fold are scored by units that the *other* folds' images, and the other
parts' inputs, have chosen. So an input that is like a clean image is exchangeable with the clean images of each fold,
as :mod:`detectors.calibration.conformal` needs it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.shared_units.likelihood_ratio import log_likelihood_ratios, rank, top_of, weights
from detectors.shared_units.reference import LEVELS, UnitReference

PARTS = 5
CHOSEN = 16


@dataclass(frozen=True)
class LearnedUnits:
    """Chosen units for every part of the batch and every fold of the calibration.

    Attributes:
        units: ``(P, K, Q)`` int64.
        weights: ``(P, K, Q)`` float64, mean 1; all zero where no unit has a positive log-likelihood ratio.
        levels: ``(P, K, L, Q)`` float32, the loudest values of the other folds' clean images, descending, and the cut
            where fewer lie above it.

    Example:
        >>> levels = np.array([[[[2.0], [1.0]]]], np.float32)
        >>> learned = LearnedUnits(np.zeros((1, 1, 1), int), np.ones((1, 1, 1)), levels)
        >>> learned.score(np.array([[3.0], [1.5], [0.0]], np.float32), np.zeros(3, int)).round(2).T.tolist()
        [[1.1, 0.41, 0.0]]

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """

    units: NDArray[np.int64]
    weights: NDArray[np.float64]
    levels: NDArray[np.float32]

    def score(self, values: NDArray[np.float32], parts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores ``(N, K)`` of inputs, in nats, by the units of their part.

        .. math:: s = \\sum_q w_q \\log \\frac{L + 1}{1 + \\min(L, \\#\\{i : f_{iq} \\ge x_q\\})}

        with the clean images :math:`i` of the other folds.

        Args:
            values: ``(N, U)`` float32.
            parts: ``(N,)`` part of each.

        Raises:
            ValueError: If lengths differ.
        """
        if values.ndim != 2 or parts.shape != values.shape[:1]:
            raise ValueError(f"values (N, U) and parts (N,) are needed, got {values.shape} and {parts.shape}")
        result = np.zeros((len(values), self.units.shape[1]))
        for part in np.unique(parts):
            rows = parts == part
            for fold in range(self.units.shape[1]):
                result[rows, fold] = self.score_one(values[rows], int(part), fold)
        return result

    def score_one(self, values: NDArray[np.float32], part: int, fold: int) -> NDArray[np.float64]:
        """Scores ``(N,)`` of images, whose values are ``(N, U)``, by the units of one part and one fold."""
        return self._score(values[:, self.units[part, fold]], part, fold)

    def _score(self, values: NDArray[np.float32], part: int, fold: int) -> NDArray[np.float64]:
        """Scores ``(N,)`` of images, whose values are ``(N, Q)``: of the units of that part and fold alone."""
        levels = self.levels[part, fold]
        nats = np.log((len(levels) + 1) / (1 + np.arange(len(levels) + 1)))
        as_loud = (levels[:, :, None] >= values.T).sum(0)
        result = np.zeros(len(values))
        # One unit after the other: a sum over all at once rounds a row by how many rows there are.
        for weight, counts in zip(self.weights[part, fold], as_loud, strict=True):
            result += weight * nats[counts]
        return result

    def clean_scores(self, reference: UnitReference) -> NDArray[np.float64]:
        """Scores ``(n, P)`` of the clean images, by the units of their own fold; NaN for those that calibrate nothing.

        Args:
            reference: What the units were learned with.
        """
        result = np.full((reference.size, self.units.shape[0]), np.nan)
        for fold in range(self.units.shape[1]):
            rows = reference.folds == fold
            for part in range(self.units.shape[0]):
                chosen = reference.of_units(self.units[part, fold])
                result[rows, part] = self._score(chosen.table[rows], part, fold)
        return result


def learn_units(
    reference: UnitReference, values: NDArray[np.float32], strata: NDArray[np.int64], parts: NDArray[np.int64]
) -> LearnedUnits:
    """Choose units for every part and fold.

    Args:
        reference: Of the clean images.
        values: ``(N, U)`` float32 of the batch, or of a sample of it.
        strata: ``(N,)`` strata of those inputs.
        parts: ``(N,)`` parts of those inputs, 0 to P - 1; how they are numbered must not depend on what is in them.

    Raises:
        ValueError: If lengths differ, or there are fewer than two parts.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> clean, inputs = generator.random((40, 5), np.float32), generator.random((40, 5), np.float32)
        >>> inputs[::4, 3] += 1
        >>> zeros, fours = np.zeros(40, int), np.arange(40) // 2 % 5
        >>> from detectors.shared_units.reference import fit_units
        >>> learned = learn_units(fit_units(clean, zeros, fours), inputs, zeros, fours)
        >>> bool((learned.units[:, :, 0] == 3).all())
        True

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """
    if values.shape != (len(strata), reference.units) or parts.shape != strata.shape:
        raise ValueError(
            f"values (N, {reference.units}), strata and parts (N,) are needed, got {values.shape}, {strata.shape}, "
            f"{parts.shape}"
        )
    if np.unique(parts).size < 2 or parts.min() < 0:
        raise ValueError(f"two parts or more, numbered from 0, are needed, got {np.unique(parts).tolist()}")
    rows = reference.balanced(strata)
    number, folds = int(parts.max()) + 1, int(reference.folds.max()) + 1
    ratios = _ratios(reference, values[rows], strata[rows], (parts[rows], number))
    chosen = min(CHOSEN, reference.units)
    units = np.zeros((number, folds, chosen), np.int64)
    weight = np.zeros((number, folds, chosen))
    levels = np.zeros((number, folds, LEVELS, chosen), np.float32)
    for fold in range(folds):
        loudest = reference.levels(fold)
        for part in range(number):
            best = np.argsort(-ratios[part, fold], kind="stable")[:chosen]
            mean = ratios[part, fold, best].mean()
            units[part, fold] = best
            weight[part, fold] = ratios[part, fold, best] / mean if mean > 0 else 0.0
            levels[part, fold] = loudest[:, best]
    return LearnedUnits(units, weight, levels)


def _ratios(
    reference: UnitReference,
    values: NDArray[np.float32],
    strata: NDArray[np.int64],
    parts: tuple[NDArray[np.int64], int],
) -> NDArray[np.float64]:
    """Log-likelihood ratios ``(P, K, U)``: of inputs not of the part against clean images not of the fold."""
    among, number = parts
    folds = int(reference.folds.max()) + 1
    ratios = np.zeros((number, folds, reference.units))
    for units in reference.blocks(len(values)):
        block = reference.of_units(units)
        loud = block.loud(values[:, units])
        for fold in range(folds):
            clean = np.flatnonzero(reference.folds != fold)
            if not len(clean):
                continue  # nothing to compare with
            table = block.table[clean]
            for part in range(number):
                others = np.flatnonzero(among != part)
                every = np.concatenate([reference.strata[clean], strata[others]])
                labels = np.arange(len(every)) >= len(clean)
                top = top_of(len(every), len(clean), len(reference.values))
                ranking = rank(np.concatenate([table, loud[others]]), top)
                ratios[part, fold, units] = log_likelihood_ratios(ranking, labels, weights(labels, every))
    return ratios
