"""Densities and shared units as one p-value an input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.conformal import p_values

TAIL = 0.1


@dataclass(frozen=True)
class Surprise:
    """Density scores in nats: the negative logarithm of the share of clean images that score as high.

    Between clean images it is interpolated; above the highest it goes on linearly, by the mean excess of the highest
    tenth, or of the highest two where they are more, so that inputs beyond all clean images keep their order.

    Attributes:
        clean: ``(n,)`` float64 scores of clean images, ascending.

    Raises:
        ValueError: If there is no score, one is not finite, or they do not ascend.

    Example:
        >>> Surprise(np.array([1.0, 2.0, 3.0]))(np.array([1.0, 3.0])).round(3).tolist()
        [0.288, 1.386]

    References:
        docs/method.md, section Shared units.
    """

    clean: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what has no order."""
        if self.clean.ndim != 1 or not self.clean.size or not np.isfinite(self.clean).all():
            raise ValueError(f"finite scores (n,) of clean images are needed, got shape {self.clean.shape}")
        if (np.diff(self.clean) < 0).any():
            raise ValueError(f"ascending scores of clean images are needed, got {self.clean[:3].tolist()}...")

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Nats ``(...)`` of scores ``(...)``, not negative."""
        count = len(self.clean)
        nats = -np.log((count - np.arange(count)) / (count + 1))
        tail = self.clean[-max(2, int(TAIL * count)) :]
        excess = max(float((tail - tail[0]).mean()), 1e-12 * max(1.0, abs(float(tail[0]))))
        inside = np.interp(scores, self.clean, nats)
        # Just below a clean score, rounding may put an interpolated value above what that score itself gets.
        following = np.minimum(np.searchsorted(self.clean, scores, side="right"), count - 1)
        inside = np.minimum(inside, nats[following])
        return np.asarray(inside + np.maximum(scores - self.clean[-1], 0) / excess, np.float64)


def joint_p_values(
    clean: NDArray[np.float64], folds: NDArray[np.int64], inputs: NDArray[np.float64], parts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Conformal p-values ``(N,)`` of the inputs' joint evidence.

    Args:
        clean: ``(n, P)`` joint evidence of the clean images that calibrate, for every part of the batch.
        folds: ``(n,)`` fold of each, 0 to K - 1; -1 for an image that calibrates nothing.
        inputs: ``(N, K)`` joint evidence of the inputs, by every fold.
        parts: ``(N,)`` part of each input, 0 to P - 1.

    Raises:
        ValueError: If lengths differ, or there is no such fold or part.

    Example:
        >>> joint_p_values(np.array([[1.0], [2.0], [3.0]]), np.zeros(3, int), np.array([[2.5]]), np.zeros(1, int))
        array([0.5])

    References:
        Vovk (2015), Cross-conformal predictors, Annals of Mathematics and Artificial Intelligence 74, 9-28.
    """
    if clean.ndim != 2 or folds.shape != clean.shape[:1] or inputs.ndim != 2 or parts.shape != inputs.shape[:1]:
        raise ValueError(
            "evidence (n, P) and (N, K), folds (n,) and parts (N,) are needed, got "
            f"{clean.shape}, {inputs.shape}, {folds.shape}, {parts.shape}"
        )
    for name, numbers, least, count in (("folds", folds, -1, inputs.shape[1]), ("parts", parts, 0, clean.shape[1])):
        lowest, highest = numbers.min(initial=0), numbers.max(initial=0)
        if lowest < least or highest >= max(count, 1):
            raise ValueError(f"{name} are numbered {least} to {count - 1}, got {lowest} to {highest}")
    result = np.ones(len(inputs))
    for part in np.unique(parts):
        by_fold = [np.sort(clean[folds == fold, part]) for fold in range(inputs.shape[1])]
        rows = parts == part
        result[rows] = p_values(by_fold, inputs[rows])
    return result
