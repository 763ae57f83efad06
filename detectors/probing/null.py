"""Is a network unusual among clean ones? One p-value from several statistics, exact for networks that are exchangeable.

The unit is the network. What a pattern moves on clean networks is not small and not known beforehand, so a network's
statistics are compared with those of clean networks of its kind, and never with a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

USUAL: Final = 0.9
"""What so many of the networks do at most is usual."""


@dataclass(frozen=True)
class Comparison:
    """A network among clean ones.

    Attributes:
        p_value: Share of the networks, this one included, that are at least as unusual as this one.
        networks: Clean networks that it was compared with.
        unusual: How unusual it is: the largest excess of a statistic over what is usual.
        loudest: Index of that statistic.
        medians: ``(S,)`` medians of the statistics of the clean networks.
        largest: ``(S,)`` largest statistics of the clean networks.
        bounds: ``(S,)`` from which value on each statistic alone would be as unusual as `level` asks for; above 1 where
            there are too few networks for that.

    Example:
        See :func:`compare_networks`.

        >>> Comparison.__dataclass_fields__["networks"].type
        'int'

    References:
        Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world.
    """

    p_value: float
    networks: int
    unusual: float
    loudest: int
    medians: NDArray[np.float64]
    largest: NDArray[np.float64]
    bounds: NDArray[np.float64]


def compare_networks(own: NDArray[np.float64], clean: NDArray[np.float64], level: float) -> Comparison:
    """The conformal p-value of a network's statistics.

    With the nine-tenths quantile ``q`` of each statistic over all ``n + 1`` networks, this one included,

    .. math:: U_i = \\max_s (x_{is} - q_s), \\qquad p = \\frac{\\#\\{i : U_i \\ge U\\}}{n + 1}

    The excess is in shares of the images, the same unit for each statistic, so that one which varies little among clean
    networks does not decide by a trifle.

    Nothing distinguishes the network in question from the others, so ``p`` is at most ``a`` with a probability of at
    most ``a`` if it is exchangeable with them, however many statistics there are and however they depend on each other.

    Args:
        own: ``(S,)`` statistics between 0 and 1, higher for more suspicious.
        clean: ``(N, S)`` those of clean networks.
        level: Significance level that `bounds` are about.

    Raises:
        ValueError: If the shapes differ, there is no clean network, or a statistic is not between 0 and 1.

    Example:
        >>> clean = np.random.default_rng(0).uniform(0, 0.3, (99, 2))
        >>> found = compare_networks(np.array([0.1, 0.9]), clean, 0.05)
        >>> found.p_value, found.loudest
        (0.01, 1)

    References:
        Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world, chapter 2.
    """
    if clean.ndim != 2 or own.shape != clean.shape[1:] or not clean.size:
        raise ValueError(f"statistics (S,) and (N, S) of clean networks are needed, got {own.shape} and {clean.shape}")
    pool = np.vstack([clean, own])
    if not ((pool >= 0) & (pool <= 1)).all():
        raise ValueError("statistics between 0 and 1 are needed")
    usual = np.quantile(pool, USUAL, axis=0)
    excess = pool - usual
    unusual = excess.max(1)
    # The last network counts as well, so that many of the others may be above it and it still is unusual enough.
    above = int(np.floor(level * (len(clean) + 1) * (1 + 1e-12))) - 1
    others = np.sort(unusual[:-1])[::-1]
    bounds = usual + (others[above] if 0 <= above < len(others) else np.inf)
    return Comparison(
        p_value=float((unusual >= unusual[-1]).mean()),
        networks=len(clean),
        unusual=float(unusual[-1]),
        loudest=int(excess[-1].argmax()),
        medians=np.median(clean, axis=0),
        largest=clean.max(0),
        bounds=bounds,
    )
