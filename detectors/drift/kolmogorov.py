"""The two-sample test of Kolmogorov and Smirnov, without SciPy: a scan imports this."""

from __future__ import annotations

from math import exp, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

_TERMS: Final = 100


def distance_to_uniform(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest distances ``(S,)`` between the distributions of columns ``(N, S)`` and the uniform one on [0, 1].

    .. math:: D = \\sup_x |F_N(x) - x|

    Raises:
        ValueError: If there is no row.

    Example:
        >>> distance_to_uniform(np.array([[0.5], [0.5]]))
        array([0.5])

    References:
        Massey (1951), The Kolmogorov-Smirnov test for goodness of fit, Journal of the American Statistical Association
        46, 68-78.
    """
    if values.ndim != 2 or not len(values):
        raise ValueError(f"rows (N, S) are needed, got {values.shape}")
    ordered, count = np.sort(values, axis=0), len(values)
    steps = np.arange(1, count + 1)[:, None] / count
    return np.asarray(np.maximum((steps - ordered).max(0), (ordered - (steps - 1 / count)).max(0)))


def distance_to_quantiles(values: NDArray[np.float64], quantiles: NDArray[np.float64]) -> float:
    """Largest distance between the distribution of values ``(N,)`` and one given by its quantiles ``(Q,)``.

    It is looked at where the quantiles are.

    Args:
        values: The values.
        quantiles: At levels 0, 1/(Q-1), ..., 1, ascending.

    Raises:
        ValueError: If there is no value, or there are fewer than two quantiles.

    Example:
        >>> distance_to_quantiles(np.array([5.0, 6.0]), np.linspace(0, 1, 11))
        1.0

    References:
        Smirnov (1939), On the estimation of the discrepancy between empirical curves of distribution for two
        independent samples, Bulletin of Moscow University 2, 3-16.
    """
    if not len(values) or len(quantiles) < 2:
        raise ValueError(f"values and two or more quantiles are needed, got {len(values)} and {len(quantiles)}")
    ordered, levels = np.sort(values), np.linspace(0, 1, len(quantiles))
    # Of equal quantiles, the distribution function takes the highest level at them and the lowest before them.
    first = np.searchsorted(quantiles, quantiles, "left")
    last = np.searchsorted(quantiles, quantiles, "right") - 1
    at = np.searchsorted(ordered, quantiles, "right") / len(ordered)
    before = np.searchsorted(ordered, quantiles, "left") / len(ordered)
    return float(max(np.abs(at - levels[last]).max(), np.abs(levels[first] - before).max()))


def kolmogorov_p_value(distance: float, one: int, other: int) -> float:
    """P-value of a distance between the distributions of two samples, for sizes that are not tiny.

    .. math:: p = 2 \\sum_{k \\ge 1} (-1)^{k-1} e^{-2 k^2 z^2}, \\quad z = D \\sqrt{\\frac{nm}{n + m}}

    Args:
        distance: Between their distribution functions.
        one: Size of one sample, at least 1.
        other: Of the other.

    Raises:
        ValueError: If a size is below 1.

    Example:
        >>> round(kolmogorov_p_value(0.2, 100, 100), 3)
        0.037

    References:
        Smirnov (1948), Table for estimating the goodness of fit of empirical distributions, Annals of Mathematical
        Statistics 19, 279-281.
    """
    if one < 1 or other < 1:
        raise ValueError(f"two samples are needed, got sizes {one} and {other}")
    z = distance * sqrt(one * other / (one + other))
    if z < 0.2:  # where the series converges slowly, and the p-value differs from 1 by less than 1e-12
        return 1.0
    total = 2 * sum((-1.0) ** (k - 1) * exp(-2 * (k * z) ** 2) for k in range(1, _TERMS))
    return min(1.0, max(0.0, total))
