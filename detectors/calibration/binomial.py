"""Exact binomial and beta-binomial tails and quantiles, without SciPy.

A scan imports this; SciPy's statistics would cost it half a second at start-up. All parameters are
integers, so that a beta distribution function is a binomial tail.
"""

from __future__ import annotations

from collections.abc import Callable
from math import lgamma, log, log1p
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 2**16


def beta_binomial_tail(k: int, n: int, a: int, b: int) -> float:
    """``P(K >= k)`` for ``K ~ BetaBinomial(n, a, b)`` with integers ``a, b >= 1``.

    .. math:: P(K \\ge k) = \\sum_{j=k}^n \\binom nj \\frac{B(a + j, b + n - j)}{B(a, b)}

    Args:
        k: Observed count.
        n: Number of trials.
        a: First shape parameter.
        b: Second shape parameter.

    Raises:
        ValueError: If the number of trials is negative, or a shape parameter below 1.

    Example:
        >>> round(beta_binomial_tail(3, 4, 1, 1), 6)  # uniform on 0 to 4
        0.4

    References:
        Skellam (1948), A probability distribution derived from the binomial distribution by regarding the probability
        of success as variable between the sets of trials, Journal of the Royal Statistical Society B 10, 257-261.
    """
    if n < 0 or a < 1 or b < 1:
        raise ValueError(f"n >= 0 trials and shapes a, b >= 1 are needed, got n = {n}, a = {a} and b = {b}")
    if k <= 0:
        return 1.0
    if k > n:
        return 0.0

    def ratios(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log((n - counts) * (a + counts)) - np.log((counts + 1) * (b + n - 1 - counts))

    return _tail(lgamma(n + b) + lgamma(a + b) - lgamma(a + b + n) - lgamma(b), ratios, n, k)


def binomial_tail(k: int, n: int, p: float) -> float:
    """``P(K >= k)`` for ``K ~ Binomial(n, p)``.

    .. math:: P(K \\ge k) = \\sum_{j=k}^n \\binom nj p^j (1 - p)^{n-j}

    Args:
        k: Observed count.
        n: Number of trials.
        p: Chance of success of each.

    Raises:
        ValueError: If the number of trials is negative, or the chance is not in [0, 1].

    Example:
        >>> round(binomial_tail(2, 3, 0.5), 6)
        0.5

    References:
        Johnson, Kemp and Kotz (2005), Univariate discrete distributions, third edition, chapter 3.
    """
    if n < 0 or not 0.0 <= p <= 1.0:
        raise ValueError(f"n >= 0 trials and a chance in [0, 1] are needed, got n = {n} and p = {p}")
    if k <= 0 or p >= 1.0:
        return 1.0
    if k > n or p <= 0.0:
        return 0.0

    def ratios(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log((n - counts) / (counts + 1)) + log(p) - log1p(-p)

    return _tail(n * log1p(-p), ratios, n, k)


def _tail(first: float, ratios: Callable[[NDArray[np.float64]], NDArray[np.float64]], n: int, k: int) -> float:
    """Probability of ``k`` or more of ``n >= 1``, normalised so that rounding in a long recursion cancels.

    A block of counts at a time, so that memory does not grow with their number. A tail too small for a double is
    reported as the smallest normal one: never as impossible.

    Args:
        first: Log probability of 0.
        ratios: By how much the log probability of the next count is larger than that of each of these.
        n: Largest count.
        k: Where the tail begins.
    """
    total, tail, peak, climbed = 0.0, 0.0, -np.inf, 0.0
    for start in range(0, n, _BLOCK):
        counts = np.arange(start, min(start + _BLOCK, n), dtype=np.float64)
        steps = np.cumsum(np.concatenate(([climbed], ratios(counts))))
        # The block's own first count was the last one of the block before.
        log_pmf = first + steps[min(start, 1) :]
        highest = max(peak, float(log_pmf.max()))
        weights, scale = np.exp(log_pmf - highest), float(np.exp(peak - highest))
        total = total * scale + weights.sum()
        tail = tail * scale + weights[max(k - start - min(start, 1), 0) :].sum()
        peak, climbed = highest, float(steps[-1])
    return float(np.clip(tail / total, np.finfo(np.float64).tiny, 1.0))


def beta_quantile(probability: float, a: int, b: int) -> float:
    """The ``probability`` quantile of ``Beta(a, b)`` with integers ``a, b >= 0``.

    ``a = 0`` is the point mass at 0 and ``b = 0`` the point mass at 1, the conventions that
    Clopper and Pearson's interval needs at its ends. Found by bisection of

    .. math:: P(\\mathrm{Beta}(a, b) \\le x) = P(\\mathrm{Binomial}(a + b - 1, x) \\ge a)

    Raises:
        ValueError: If the probability is not in [0, 1], or a shape is negative, or both are zero.

    Example:
        >>> round(beta_quantile(0.5, 2, 2), 6)
        0.5

    References:
        NIST Digital Library of Mathematical Functions (2010), equation 8.17.5, https://dlmf.nist.gov/8.17.E5.
    """
    if not 0.0 <= probability <= 1.0 or a < 0 or b < 0 or a + b == 0:
        raise ValueError(f"a probability and shapes a, b >= 0, not both 0, are needed, got {probability}, {a} and {b}")
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
    """Exact confidence interval for a proportion from ``k`` of ``n``.

    .. math:: [B_{\\alpha/2}(k, n - k + 1),\\ B_{1-\\alpha/2}(k + 1, n - k)], \\quad \\alpha = 1 - \\mathrm{level}

    where ``B_q(a, b)`` is the quantile of :func:`beta_quantile`.

    Raises:
        ValueError: If ``k`` is not in [0, n], or the level not between 0 and 1.

    Example:
        >>> low, high = clopper_pearson(0, 10, 0.95)
        >>> round(low, 4), round(high, 4)
        (0.0, 0.3085)

    References:
        Clopper and Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the binomial,
        Biometrika 26, 404-413.
    """
    if not 0 <= k <= n or not 0.0 < level < 1.0:
        raise ValueError(f"0 <= k <= n and a level in (0, 1) are needed, got k = {k}, n = {n} and level {level}")
    miss = (1.0 - level) / 2.0
    return beta_quantile(miss, k, n - k + 1), beta_quantile(1.0 - miss, k + 1, n - k)
