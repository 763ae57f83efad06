"""Where inputs rank among clean images, each by the densities of one fold: uniform if they are like them.

A conformal p-value averages the ranks of an input in all folds. Where the densities of folds differ, averages crowd
around the middle, and the distribution of p-values is not uniform even for clean inputs. The rank in one fold is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.judge import Calibration


def fold_ranks(
    calibration: Calibration, scores: NDArray[np.float64], folds: NDArray[np.int64], ties: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ranks ``(N, S + 1)`` from 0 to 1 of every score of inputs, and in the last column of the combined score.

    .. math:: u = \\frac{|\\{i: s_i > s\\}| + v\\,(1 + |\\{i: s_i = s\\}|)}{n_k + 1}

    over the ``n_k`` clean images of the input's fold, with ``v`` uniform: then ``u`` is uniform for an input that is
    exchangeable with them.

    Args:
        calibration: The clean images.
        scores: ``(N, K, S)`` float64, by the densities of every fold.
        folds: ``(N,)`` int64, the fold that each is compared with: chosen without looking at the scores.
        ties: ``(N,)`` between 0 and 1, likewise.

    Raises:
        ValueError: If shapes do not fit together.

    Example:
        >>> from detectors.calibration.judge import calibrate
        >>> from detectors.calibration.standardise import fit_standardiser
        >>> clean = np.arange(1.0, 10.0)[:, None]
        >>> calibration = calibrate(clean, np.zeros(9, int), fit_standardiser(clean, np.zeros(1)), 2.0)
        >>> fold_ranks(calibration, np.array([[[50.0]]]), np.zeros(1, int), np.array([0.5]))
        array([[0.05, 0.05]])

    References:
        Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world, Springer, section 2.2, for smoothed
        conformal transducers.
    """
    count, width = len(scores), calibration.scores.shape[1]
    if scores.shape != (count, calibration.num_folds, width) or folds.shape != (count,) or ties.shape != (count,):
        raise ValueError(
            f"scores (N, {calibration.num_folds}, {width}), folds (N,) and ties (N,) are needed, got {scores.shape}, "
            f"{folds.shape} and {ties.shape}"
        )
    ranks = np.empty((count, width + 1))
    combined = calibration.combine(scores)
    ends = np.cumsum(calibration.fold_sizes)
    for fold, (end, size) in enumerate(zip(ends.tolist(), calibration.fold_sizes.tolist(), strict=True)):
        rows = np.flatnonzero(folds == fold)
        members = slice(end - size, end)
        clean = np.column_stack([calibration.scores[members], calibration.combined[members]])
        values = np.column_stack([scores[rows, fold], combined[rows, fold]])
        for column in range(width + 1):
            above = size - np.searchsorted(clean[:, column], values[:, column], "right")
            equal = size - above - np.searchsorted(clean[:, column], values[:, column], "left")
            ranks[rows, column] = (above + ties[rows] * (1 + equal)) / (size + 1)
    return ranks
