"""Whether the inputs of a batch share units that clean images do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.shared_units.exact import unit_p_values
from detectors.shared_units.likelihood_ratio import Ranking, join, log_likelihood_ratios, rank, top_of, weights
from detectors.shared_units.permutation import permutation_p_value
from detectors.shared_units.reference import UnitReference

CHOICES = 2999
"""Most random choices. Together with the densities' test, the smallest p-value that they give still counts as high."""
BY_PERMUTATION = 0.9
"""Share of the error that the permutation test may use; the rest is the closed form's."""
NAMED = 8
SEED = 0


@dataclass(frozen=True)
class SharedUnit:
    """One unit that speaks up in inputs.

    Attributes:
        unit: Its number.
        inputs: Inputs that are louder in it than every clean image.
        p_value: Exact p-value, Bonferroni-adjusted for the number of units.

    Example:
        >>> SharedUnit(unit=47, inputs=24, p_value=1e-5).inputs
        24

    References:
        docs/method.md, section Shared units.
    """

    unit: int
    inputs: int
    p_value: float


@dataclass(frozen=True)
class SharedUnitsTest:
    """Outcome of the test of a batch.

    Attributes:
        inputs: Inputs that were given.
        comparable: How many of them have a clean image in their stratum.
        compared: How many were compared: no more than four for each clean image of a stratum.
        p_value: Exact p-value of both tests together.
        permutation_p_value: Of all units at once; None where the closed form says more than random choices could.
        exact_p_value: Smallest of single units', adjusted for their number.
        units: The units that speak up most, the strongest first.

    Example:
        >>> SharedUnitsTest(0, 0, 0, 1.0, None, 1.0, ()).p_value
        1.0

    References:
        docs/method.md, section Shared units.
    """

    inputs: int
    comparable: int
    compared: int
    p_value: float
    permutation_p_value: float | None
    exact_p_value: float
    units: tuple[SharedUnit, ...]


def shared_units_test(
    reference: UnitReference, values: NDArray[np.float32], strata: NDArray[np.int64]
) -> SharedUnitsTest:
    """Test inputs against clean images.

    The order of the inputs decides which of a crowded stratum are compared, and which random choices are drawn: give
    them in an order that has nothing to do with what is in them.

    Args:
        reference: Of the clean images.
        values: ``(N, U)`` float32.
        strata: ``(N,)`` stratum of each input.

    Raises:
        ValueError: If shapes do not fit.

    Example:
        >>> from detectors.shared_units.reference import fit_units
        >>> generator = np.random.default_rng(0)
        >>> clean, inputs = generator.random((40, 5), np.float32), generator.random((40, 5), np.float32)
        >>> inputs[:20, 3] += 1
        >>> zeros = np.zeros(40, int)
        >>> found = shared_units_test(fit_units(clean, zeros, zeros), inputs, zeros)
        >>> found.units[0].unit, found.units[0].inputs, found.p_value < 0.001
        (3, 20, True)

    References:
        Besag and Clifford (1991), Sequential Monte Carlo p-values, Biometrika 78, 301-304.
    """
    if values.shape != (len(strata), reference.units):
        raise ValueError(
            f"values (N, {reference.units}) and strata (N,) are needed, got {values.shape}, {strata.shape}"
        )
    rows = reference.balanced(strata)
    if not len(rows):
        return SharedUnitsTest(len(strata), 0, 0, 1.0, None, 1.0, ())
    every = np.concatenate([reference.strata, strata[rows]])
    inputs = np.arange(len(every)) >= reference.size
    ranking = _ranking(reference, values[rows])
    by = weights(inputs, every)
    p, _ = unit_p_values(ranking, inputs, every)
    exact = min(1.0, float(p.min()) * reference.units)
    by_choices = None
    if exact / (1 - BY_PERMUTATION) > 1 / (CHOICES + 1) / BY_PERMUTATION:
        by_choices = permutation_p_value(ranking, inputs, every, by, CHOICES, np.random.default_rng(SEED))
    smallest = min(exact / (1 - BY_PERMUTATION), 1.0 if by_choices is None else by_choices / BY_PERMUTATION)
    ratios = log_likelihood_ratios(ranking, inputs, by)
    best = [int(u) for u in np.argsort(-ratios, kind="stable")[:NAMED] if ratios[u] > 0]
    # Counted here: the ranking goes no deeper than the test looks, and has the compared inputs alone.
    louder = (values[:, best] > np.maximum(reference.values[0], reference.cut)[best]).sum(0)
    adjusted = np.minimum(1.0, p * reference.units)
    units = tuple(SharedUnit(u, int(n), float(adjusted[u])) for u, n in zip(best, louder, strict=True))
    comparable = int(np.isin(strata, reference.strata).sum())
    return SharedUnitsTest(len(strata), comparable, len(rows), min(1.0, smallest), by_choices, exact, units)


def _ranking(reference: UnitReference, values: NDArray[np.float32]) -> Ranking:
    """Clean images, and after them inputs ``(M, U)``, ranked in every unit."""
    top = top_of(reference.size + len(values), reference.size, len(reference.values))
    rankings = []
    for units in reference.blocks(len(values)):
        part = reference.of_units(units)
        rankings.append(rank(np.concatenate([part.table, part.loud(values[:, units])]), top))
    return join(rankings)
