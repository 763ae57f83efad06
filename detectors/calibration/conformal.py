"""Split-conformal p-values (Vovk, Gammerman and Shafer 2005).

If a new clean input is exchangeable with the calibration images, then for every alpha

.. math:: P(p \\le \\alpha) \\le \\alpha,

with equality at multiples of ``1 / (n + 1)`` when scores have no ties.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def p_values(calibration: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Conformal p-values of ``scores`` ``(N,)`` against ``calibration`` ``(n,)``, in ``(0, 1]``.

    .. math:: p(s) = \\frac{1 + \\#\\{i : c_i \\ge s\\}}{n + 1}

    Args:
        calibration: Scores of clean images, **sorted ascending**.
        scores: Scores to judge, higher is more suspicious. NaN counts as the most suspicious.
    """
    below = np.searchsorted(calibration, scores, side="left")
    return np.asarray((1.0 + len(calibration) - below) / (len(calibration) + 1.0), np.float64)


def rank_limit(calibration_size: int, alpha: float) -> int:
    """The number of p-values that lie at or below ``alpha``: ``floor(alpha (n + 1))``.

    A p-value is at most alpha exactly when fewer than this many calibration scores reach the score.
    Zero means that the calibration is too small for this alpha: nothing would ever be flagged.
    """
    # The product of a decimal alpha and an integer may fall a rounding error short of an integer.
    return int(np.floor(alpha * (calibration_size + 1) * (1 + 1e-12)))


def smallest_alpha(calibration_size: int) -> float:
    """The smallest alpha at which anything can be flagged, ``1 / (n + 1)``."""
    return 1.0 / (calibration_size + 1)
