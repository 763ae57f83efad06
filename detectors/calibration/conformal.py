"""Split-conformal and cross-conformal p-values (Vovk, Gammerman and Shafer 2005; Vovk 2015).

One fold is the split: if a new clean input is exchangeable with the ``n`` calibration images, then for every alpha

.. math:: P(p \\le \\alpha) \\le \\alpha,

with equality at multiples of ``1 / (n + 1)`` when scores have no ties. With ``K`` folds, each of which has its own
score function, an input is compared with the images of a fold by that fold's function alone. Each comparison is exact
for itself; their sum obeys ``P(p <= alpha) <= 2 alpha + 2 (1 - alpha) (K - 1) / (n + K)`` whatever the functions are
(the mean of p-values is at most doubled: Vovk and Wang 2020), and ``alpha`` where the functions agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def p_values(folds: Sequence[NDArray[np.float64]], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Conformal p-values ``(N,)``, in ``(0, 1]``.

    .. math:: p = \\frac{1 + \\sum_k \\#\\{i \\in F_k : c_i \\ge s_k\\}}{n + 1}

    Args:
        folds: Scores of the clean images of each of ``K`` folds, each **sorted ascending**.
        scores: Scores ``(N, K)`` to judge, column ``k`` by the score function of fold ``k``, higher is more
            suspicious. NaN counts as the most suspicious.

    Raises:
        ValueError: If there are not as many columns as folds, or no clean image at all.

    Example:
        >>> p_values([np.array([1.0, 3.0]), np.array([2.0, 4.0])], np.array([[3.5, 3.5]]))
        array([0.4])

    References:
        Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world, chapter 2, for one fold. Vovk
        (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28, for several.
    """
    size = sum(map(len, folds))
    if size == 0 or scores.ndim != 2 or scores.shape[1] != len(folds):
        raise ValueError(f"scores (N, {len(folds)}) and clean images are needed, got {scores.shape} and {size} images")
    reached = np.zeros(len(scores))
    for fold, column in zip(folds, scores.T, strict=True):
        reached += len(fold) - np.searchsorted(fold, column, side="left")
    return np.asarray((1.0 + reached) / (size + 1.0), np.float64)


def rank_limit(calibration_size: int, alpha: float) -> int:
    """The number of p-values that lie at or below ``alpha``.

    .. math:: r = \\lfloor \\alpha (n + 1) \\rfloor

    A p-value is at most alpha exactly when fewer than this many calibration scores reach the score.
    Zero means that the calibration is too small for this alpha: nothing would ever be flagged.

    Raises:
        ValueError: If the size is negative, or alpha is not in [0, 1].

    Example:
        >>> rank_limit(199, 0.01), rank_limit(98, 0.01)
        (2, 0)

    References:
        Vovk (2013), Conditional validity of inductive conformal predictors, Machine Learning 92, 349-376.
    """
    if calibration_size < 0 or not 0.0 <= alpha <= 1.0:
        raise ValueError(f"a size >= 0 and an alpha in [0, 1] are needed, got {calibration_size} and {alpha}")
    # The product of a decimal alpha and an integer may fall a rounding error short of an integer.
    return int(np.floor(alpha * (calibration_size + 1) * (1 + 1e-12)))


def smallest_alpha(calibration_size: int) -> float:
    """The smallest alpha at which anything can be flagged, ``1 / (n + 1)``.

    Raises:
        ValueError: If the size is negative.

    Example:
        >>> smallest_alpha(99)
        0.01

    References:
        Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world, chapter 2.
    """
    if calibration_size < 0:
        raise ValueError(f"a calibration size of at least 0 is needed, got {calibration_size}")
    return 1.0 / (calibration_size + 1)
