"""An exact test that inputs are like clean images, by exchanging them within strata."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.shared_units.likelihood_ratio import Ranking, Weights, log_likelihood_ratios

POWER = 3
STOP_AT = 20


def evidence(ratios: NDArray[np.float64]) -> float:
    """One number for all units: the sum of the cubes of their log-likelihood ratios.

    A trigger speaks in some units and not in others: the largest ratio would leave out that there are several, and a
    plain sum would drown them in the many units that say nothing.

    Example:
        >>> evidence(np.array([1.0, 2.0]))
        9.0

    References:
        docs/method.md, section Shared units.
    """
    return float((ratios**POWER).sum())


def exchange(inputs: NDArray[np.bool_], strata: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.bool_]:
    """A random choice ``(M,)`` with as many inputs in every stratum as `inputs` has.

    Example:
        >>> exchange(np.array([True, False, False]), np.array([0, 0, 1]), np.random.default_rng(0)).sum()
        np.int64(1)

    References:
        Fisher (1935), The Design of Experiments, for the randomisation test.
    """
    # Sorted by stratum, and at random within each, twice over: positions and labels of a stratum meet at random.
    by_stratum = np.argsort(strata, kind="stable")
    shuffled = np.lexsort((generator.random(len(strata)), strata))
    result = np.empty_like(inputs)
    result[by_stratum] = inputs[shuffled]
    return result


def permutation_p_value(
    ranking: Ranking,
    inputs: NDArray[np.bool_],
    strata: NDArray[np.int64],
    by: Weights,
    most: int,
    generator: np.random.Generator,
) -> float:
    """P-value of the observed inputs' evidence.

    If inputs are exchangeable with the clean images of their stratum, every choice of as many images of each stratum is
    as likely to be the inputs as the one that is. The p-value compares the evidence with that of random choices, and is
    valid at any number of them. It stops once 20 of ``L`` have reached the observed one, at ``20 / L``, which keeps it
    so. No correction for the number of units is needed, whatever depends on what: every choice goes through all units.

    Args:
        ranking: Of all ``M`` images.
        inputs: ``(M,)`` bool, which of them are inputs.
        strata: ``(M,)`` int64.
        by: Weights of the images.
        most: Most random choices.
        generator: Source of the choices.

    Returns:
        A p-value, at least ``1 / (most + 1)``.

    Raises:
        ValueError: If lengths differ, or `most` is not positive.

    Example:
        >>> from detectors.shared_units.likelihood_ratio import rank, weights
        >>> values = np.arange(16.0, dtype=np.float32)[:, None]
        >>> inputs, strata = np.arange(16) >= 8, np.zeros(16, int)
        >>> ranking, by = rank(values, 8), weights(inputs, strata)
        >>> permutation_p_value(ranking, inputs, strata, by, 999, np.random.default_rng(0)) < 0.01
        True

    References:
        Besag and Clifford (1991), Sequential Monte Carlo p-values, Biometrika 78, 301-304.
    """
    if inputs.ndim != 1 or inputs.shape != strata.shape or most < 1:
        raise ValueError(f"inputs and strata (M,) and choices are needed, got {inputs.shape}, {strata.shape}, {most}")
    # A choice that equals the observed one must count as such, in whatever order its units are added up.
    observed = evidence(log_likelihood_ratios(ranking, inputs, by)) * (1 - 1e-9)
    reached = 0
    for done in range(1, most + 1):
        reached += evidence(log_likelihood_ratios(ranking, exchange(inputs, strata, generator), by)) >= observed
        if reached == STOP_AT:
            return STOP_AT / done
    return (reached + 1) / (most + 1)
