"""Whether two classifiers differ, from what each gets right of the same images (McNemar 1947)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.binomial import binomial_tail


def mcnemar(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Exact two-sided p-value of McNemar's test: of equal chances for either to be right alone.

    .. math:: p = \\min\\Big(1,\\ 2 \\sum_{j = \\max(b, c)}^{b + c} \\binom{b + c}{j} 2^{-(b + c)}\\Big)

    with the numbers ``b`` and ``c`` of images that only the one, and only the other, is right about.

    Args:
        one: ``(N,)`` bool, whether the first classifier is right about each image.
        other: ``(N,)`` bool, the same for the second.

    Raises:
        ValueError: If the lengths differ, or the answers are not of type bool.

    Example:
        >>> one, other = np.arange(10) < 8, np.arange(10) < 2
        >>> round(mcnemar(one, other), 5)  # six to nil
        0.03125

    References:
        McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages,
        Psychometrika 12, 153-157. Fagerland, Lydersen and Laake (2013), The McNemar test for binary matched-pairs data,
        BMC Medical Research Methodology 13, 91, for the exact conditional test.
    """
    if one.dtype != np.bool_ or other.dtype != np.bool_:
        raise ValueError(f"answers of type bool are needed, got {one.dtype} and {other.dtype}")
    if one.shape != other.shape:
        raise ValueError(f"{one.shape} and {other.shape} are not answers about the same images")
    alone = int((one & ~other).sum()), int((other & ~one).sum())
    return min(1.0, 2.0 * binomial_tail(max(alone), sum(alone), 0.5))
