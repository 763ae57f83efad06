"""P-values of single units in closed form: for evidence beyond what random choices can resolve, and to name units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.shared_units.likelihood_ratio import Ranking

ALLOWED = (0, 1, 3)
"""Clean images that may be among the loudest: inputs are counted above the first, second and fourth of them."""


def unit_p_values(
    ranking: Ranking, inputs: NDArray[np.bool_], strata: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """P-value of each unit, and how many inputs are louder than every clean image, as far as the ranking goes.

    Under exchange within strata, the number of clean images among the ``k`` loudest is a sum of independent
    hypergeometric counts, one a stratum. For each number of clean images ``c`` in 0, 1 and 3, ``k`` is taken as large
    as the ranking shows with at most ``c`` of them, and the three p-values are joined by Bonferroni. With one stratum
    this is the exact beta-binomial test of how many inputs exceed the largest, second and fourth largest clean image.

    Args:
        ranking: Of ``M`` images in ``U`` units.
        inputs: ``(M,)`` bool, which of them are inputs.
        strata: ``(M,)`` int64.

    Returns:
        ``(U,)`` float64, at most 1, not adjusted for the number of units; and ``(U,)`` int64.

    Raises:
        ValueError: If lengths differ.

    Example:
        >>> from detectors.shared_units.likelihood_ratio import rank
        >>> values = np.array([[4.0], [3.0], [2.0], [1.0]], np.float32)
        >>> p, above = unit_p_values(rank(values, 3), np.array([True, True, False, False]), np.zeros(4, int))
        >>> p.round(3).tolist(), above.tolist()
        ([0.5], [2])

    References:
        Gumbel and von Schelling (1950), The distribution of the number of exceedances, Annals of Mathematical
        Statistics 21, 247-262, for one stratum.
    """
    if inputs.ndim != 1 or inputs.shape != strata.shape:
        raise ValueError(f"inputs and strata (M,) are needed, got {inputs.shape} and {strata.shape}")
    _, index = np.unique(strata, return_inverse=True)
    images = np.bincount(index)
    clean = images - np.bincount(index, inputs).astype(np.int64)
    position = np.arange(1, len(ranking.order) + 1)[:, None]
    met = np.cumsum(~inputs[ranking.order], axis=0)
    p = np.ones(ranking.order.shape[1])
    above = np.zeros(len(p), np.int64)
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, len(inputs) + 1)))))
    for allowed in ALLOWED:
        lengths = np.where(ranking.ends & (met <= allowed), position, 0).max(0)
        if not allowed:
            above = lengths
        among = _composition(index[ranking.order], lengths, len(images))
        p = np.minimum(p, _at_most(allowed, among, images, clean, log_factorial))
    return np.minimum(1.0, len(ALLOWED) * p), above


def _composition(strata: NDArray[np.int64], lengths: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """How many of each unit's loudest images are of each stratum, ``(U, S)``."""
    inside = np.arange(len(strata))[:, None] < lengths
    unit = np.broadcast_to(np.arange(strata.shape[1]), strata.shape)
    flat = np.bincount((unit * count + strata)[inside], minlength=strata.shape[1] * count)
    return np.asarray(flat.reshape(-1, count), np.int64)


def _at_most(
    allowed: int,
    among: NDArray[np.int64],
    images: NDArray[np.int64],
    clean: NDArray[np.int64],
    log_factorial: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Probability ``(U,)`` of at most `allowed` clean images among the loudest."""

    def log_choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
        possible = (k >= 0) & (k <= n)
        k = np.where(possible, k, 0)
        return np.where(possible, log_factorial[n] - log_factorial[k] - log_factorial[np.maximum(n - k, 0)], -np.inf)

    # By stratum, the chance of 0, 1, ... clean ones; then the sum over strata, cut off beyond what is allowed.
    total = np.zeros((len(among), allowed + 1))
    total[:, 0] = 1.0
    for stratum in range(len(images)):
        drawn, size, marked = among[:, stratum], int(images[stratum]), int(clean[stratum])
        if not drawn.any():
            continue
        chances = [
            np.exp(
                log_choose(np.full_like(drawn, marked), np.full_like(drawn, j))
                + log_choose(np.full_like(drawn, size - marked), drawn - j)
                - log_choose(np.full_like(drawn, size), drawn)
            )
            for j in range(allowed + 1)
        ]
        total = np.stack([sum(total[:, i] * chances[j - i] for i in range(j + 1)) for j in range(allowed + 1)], axis=1)
    return np.asarray(np.minimum(total.sum(1), 1.0), np.float64)
