"""Exact binomial and beta-binomial tails and quantiles, without SciPy.

A scan imports this; SciPy's statistics would cost it half a second at start-up. All parameters are
integers, so that a beta distribution function is a binomial tail.
"""

from __future__ import annotations

from math import lgamma, log, log1p

import numpy as np
from numpy.typing import NDArray


def beta_binomial_tail(k: int, n: int, a: int, b: int) -> float:
    """``P(K >= k)`` for ``K ~ BetaBinomial(n, a, b)`` with integers ``a, b >= 1``.

    Args:
        k: Observed count.
        n: Number of trials.
        a: First shape parameter.
        b: Second shape parameter.
    """
    if k <= 0:
        return 1.0
    if k > n:
        return 0.0
    counts = np.arange(n, dtype=np.float64)
    ratios = np.log((n - counts) * (a + counts)) - np.log((counts + 1) * (b + n - 1 - counts))
    first = lgamma(n + b) + lgamma(a + b) - lgamma(a + b + n) - lgamma(b)
    return _tail(np.concatenate(([first], first + np.cumsum(ratios))), k)


def binomial_tail(k: int, n: int, p: float) -> float:
    """``P(K >= k)`` for ``K ~ Binomial(n, p)``."""
    if k <= 0 or p >= 1.0:
        return 1.0
    if k > n or p <= 0.0:
        return 0.0
    counts = np.arange(n, dtype=np.float64)
    ratios = np.log((n - counts) / (counts + 1)) + log(p) - log1p(-p)
    first = n * log1p(-p)
    return _tail(np.concatenate(([first], first + np.cumsum(ratios))), k)


def _tail(log_pmf: NDArray[np.float64], k: int) -> float:
    """Sum of ``exp(log_pmf[k:])``, normalised so that rounding in a long recursion cancels.

    A tail too small for a double is reported as the smallest normal one: never as impossible.
    """
    weights = np.exp(log_pmf - log_pmf.max())
    return float(np.clip(weights[k:].sum() / weights.sum(), np.finfo(np.float64).tiny, 1.0))


def beta_quantile(probability: float, a: int, b: int) -> float:
    """The ``probability`` quantile of ``Beta(a, b)`` with integers ``a, b >= 0``.

    ``a = 0`` is the point mass at 0 and ``b = 0`` the point mass at 1, the conventions that
    Clopper and Pearson's interval needs at its ends.
    """
    if a == 0:
        return 0.0
    if b == 0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        # P(Beta(a, b) <= x) = P(Binomial(a + b - 1, x) >= a)
        if binomial_tail(a, a + b - 1, middle) < probability:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def clopper_pearson(k: int, n: int, level: float) -> tuple[float, float]:
    """Exact confidence interval for a proportion from ``k`` of ``n`` (Clopper and Pearson 1934)."""
    miss = (1.0 - level) / 2.0
    return beta_quantile(miss, k, n - k + 1), beta_quantile(1.0 - miss, k + 1, n - k)
