"""Whether two classifiers differ, from what each gets right of the same images (McNemar 1947)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.binomial import binomial_tail


def mcnemar(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Exact two-sided p-value of McNemar's test: of equal chances for either to be right alone.

    Args:
        one: ``(N,)`` bool, whether the first classifier is right about each image.
        other: ``(N,)`` bool, the same for the second.

    Raises:
        ValueError: If the lengths differ.
    """
    if one.shape != other.shape:
        raise ValueError(f"{one.shape} and {other.shape} are not answers about the same images")
    alone = int((one & ~other).sum()), int((other & ~one).sum())
    return min(1.0, 2.0 * binomial_tail(max(alone), sum(alone), 0.5))
