"""Whether scores that ought to be the same are: a graph's and the densities', a GPU's and the processor's."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.standardise import Standardiser

LARGEST_DIFFERENCE: Final = 0.05
"""Between scores that count as the same, in robust standard deviations of those of clean images."""


def difference(
    scores: NDArray[np.float64], expected: NDArray[np.float64], standardise: Standardiser
) -> NDArray[np.float64]:
    """Largest differences ``(S,)`` over inputs and folds, in robust standard deviations of clean images.

    Args:
        scores: ``(N, K, S)``.
        expected: Likewise.
        standardise: Of the calibration.

    Returns:
        Infinity for a score that is not finite.
    """
    apart = np.abs(standardise(scores) - standardise(expected))
    return np.asarray(np.where(np.isfinite(apart), apart, np.inf).max((0, 1)))
