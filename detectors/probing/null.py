"""Is a network unusual among clean ones? One p-value from several statistics, exact for networks that are exchangeable.

The unit is the network. What a pattern moves on clean networks is not small and not known beforehand, so a network's
statistics are compared with those of clean networks of its kind, and never with a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        unusual: How unusual it is: the largest excess of a statistic over what is usual, in the loudest group.
        loudest: Index of that statistic.
        group: Index of the group of statistics in which it is most unusual among the networks; of several in which it
            is equally so, the one with the largest excess.
        within: Of each group, the index within it of the statistic with the largest excess.
        medians: ``(S,)`` medians of the statistics of the clean networks.
        largest: ``(S,)`` largest statistics of the clean networks.
        bounds: ``(S,)`` from which value on each statistic alone would be as unusual as `level` asks for, whatever the
            other groups; above 1 where there are too few networks for that.

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
    group: int
    within: tuple[int, ...]
    medians: NDArray[np.float64]
    largest: NDArray[np.float64]
    bounds: NDArray[np.float64]


def compare_networks(
    own: NDArray[np.float64], clean: NDArray[np.float64], level: float, groups: Sequence[int] | None = None
) -> Comparison:
    """The conformal p-value of a network's statistics.

    With the nine-tenths quantile ``q`` of each statistic over all ``n + 1`` networks, this one included, and the ranks
    ``R`` of the networks by their largest excess in each group ``g`` of statistics (the most unusual has rank 1),

    .. math:: U_{ig} = \\max_{s \\in g} (x_{is} - q_s), \\qquad p = \\frac{\\#\\{i : R_i \\le R\\}}{n + 1}

    where networks are in the order of their best rank, those with the same in the order of the next.

    The excess is in shares of the images, the same unit for each statistic, so that one which varies little among clean
    networks does not decide by a trifle. Groups are for statistics that vary by far more than others: each group then
    has its part of the level, whatever its scale.

    Nothing distinguishes the network in question from the others, so ``p`` is at most ``a`` with a probability of at
    most ``a`` if it is exchangeable with them, however many statistics there are and however they depend on each other.

    Args:
        own: ``(S,)`` statistics between 0 and 1, higher for more suspicious.
        clean: ``(N, S)`` those of clean networks.
        level: Significance level that `bounds` are about.
        groups: How many of the statistics belong together, in their order; all of them by default.

    Raises:
        ValueError: If the shapes differ, there is no clean network, a statistic is not between 0 and 1, or the groups
            are not of all statistics.

    Example:
        >>> clean = np.random.default_rng(0).uniform(0, 0.3, (99, 2))
        >>> found = compare_networks(np.array([0.1, 0.9]), clean, 0.05)
        >>> found.p_value, found.loudest
        (0.01, 1)
        >>> found = compare_networks(np.array([0.1, 0.9]), clean, 0.05, groups=(1, 1))
        >>> found.p_value <= 0.02, found.group
        (True, 1)

    References:
        Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world, chapter 2.
    """
    if clean.ndim != 2 or own.shape != clean.shape[1:] or not clean.size:
        raise ValueError(f"statistics (S,) and (N, S) of clean networks are needed, got {own.shape} and {clean.shape}")
    pool, ends = np.vstack([clean, own]), np.cumsum(groups or (len(own),))
    if not ((pool >= 0) & (pool <= 1)).all():
        raise ValueError("statistics between 0 and 1 are needed")
    if ends[-1] != len(own) or (np.diff([0, *ends]) < 1).any():
        raise ValueError(f"groups of all {len(own)} statistics are needed, got {groups}")
    usual = np.quantile(pool, USUAL, axis=0)
    excess = np.split(pool - usual, ends[:-1], axis=1)
    unusual = np.stack([part.max(1) for part in excess], 1)
    ranks = (unusual[None] >= unusual[:, None]).sum(1)
    group = int(np.lexsort((-unusual[-1], ranks[-1]))[0])
    within = tuple(int(part[-1].argmax()) for part in excess)
    bounds = [_bound(unusual[:-1, one], level / len(ends)) for one in range(len(ends))]
    return Comparison(
        p_value=_at_least_as_unusual(np.sort(ranks, 1)),
        networks=len(clean),
        unusual=float(unusual[-1, group]),
        loudest=int(ends[group]) - excess[group].shape[1] + within[group],
        group=group,
        within=within,
        medians=np.median(clean, axis=0),
        largest=clean.max(0),
        bounds=usual + np.repeat(bounds, np.diff([0, *ends])),
    )


def _at_least_as_unusual(ranks: NDArray[np.int64]) -> float:
    """Share of the networks that do not come after the last one, by their best rank, then by the next."""
    own = tuple(ranks[-1].tolist())
    return sum(tuple(row) <= own for row in ranks.tolist()) / len(ranks)


def _bound(others: NDArray[np.float64], level: float) -> float:
    """Above which excess a network is unusual enough: it counts as well, so that others may be above it."""
    above = int(np.floor(level * (len(others) + 1) * (1 + 1e-12))) - 1
    return float(np.sort(others)[::-1][above]) if 0 <= above < len(others) else np.inf
