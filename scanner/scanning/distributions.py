"""How the scanned inputs' scores and p-values are distributed, beside those of clean images.

Inputs with something that is not finite have no place on these scales and are left out, as they are from the tests.
Counts in fixed bins, so memory does not grow with the inputs and the counts of two shards add up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.conformal import rank_limit
from scanner.report.schema import Distributions
from scanner.scanning.scanned import ScannedInput, UnreadableRow

BINS = 40
P_BINS = 100
_MOST_FINE_BINS = 24  # of the bins, for the range that clean images cover; the others lie beyond it


class DistributionTally:
    """Counts every scanned input whose outputs are finite; a sink of `scanner.scanning.count_inputs.count_inputs`.

    The bins depend on the calibration alone: 24 over the range of clean scores, 16 as wide ones beyond it, and
    what lies outside counts in the first or the last bin.

    Args:
        clean: ``(n,)`` combined calibration scores, sorted ascending.
        alpha: Significance level of an input.
    """

    def __init__(self, clean: NDArray[np.float64], alpha: float) -> None:
        low, high = float(clean[0]), float(clean[-1])
        width = max((high - low) / _MOST_FINE_BINS, 1e-6 * max(1.0, abs(low)))
        self._edges = low + width * np.arange(BINS + 1)
        self._clean = self._count(clean)
        self._scanned = np.zeros(BINS, np.int64)
        self._p_values = np.zeros(P_BINS, np.int64)
        rank = rank_limit(len(clean), alpha)
        self._threshold = float(clean[len(clean) - rank]) if rank else None

    def scanned(self, row: ScannedInput) -> None:
        """Count a judged input."""
        if not row.finite:
            return
        self._scanned[self._bin(row.score)] += 1
        # Bin k holds k/100 < p <= (k+1)/100, so that their running sum is the distribution function.
        self._p_values[min(max(int(np.ceil(row.p_value * P_BINS * (1 - 1e-12))) - 1, 0), P_BINS - 1)] += 1

    def unreadable(self, row: UnreadableRow) -> None:
        """An input without a score."""

    def section(self) -> Distributions:
        """What the report says."""
        return Distributions(
            edges=tuple(self._edges.tolist()),
            calibration=tuple(self._clean.tolist()),
            scanned=tuple(self._scanned.tolist()),
            threshold=self._threshold,
            p_values=tuple(self._p_values.tolist()),
        )

    def _bin(self, score: float) -> int:
        return int(np.clip(np.searchsorted(self._edges, score, side="right") - 1, 0, BINS - 1))

    def _count(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        positions = np.clip(np.searchsorted(self._edges, scores, side="right") - 1, 0, BINS - 1)
        return np.bincount(positions, minlength=BINS).astype(np.int64)
