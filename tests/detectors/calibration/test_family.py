"""Holm's procedure against its definition by closed testing, and its promise on simulated families."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from detectors.calibration.family import holm


def by_closed_testing(p_values: list[float]) -> list[float]:
    """A hypothesis is rejected where Bonferroni rejects every intersection that it is part of."""
    many = range(len(p_values))
    subsets = [set(one) for size in range(1, len(p_values) + 1) for one in combinations(many, size)]
    rejected = [(subset, min(1.0, len(subset) * min(p_values[index] for index in subset))) for subset in subsets]
    return [max(p for subset, p in rejected if index in subset) for index in many]


@given(st.lists(st.floats(0, 1), max_size=6))
def test_it_is_closed_testing_by_bonferroni(p_values: list[float]) -> None:
    assert holm(np.array(p_values, np.float64)) == pytest.approx(by_closed_testing(p_values), rel=1e-12)


def test_false_alarms_of_a_family_stay_below_the_level() -> None:
    """Fifty models of which ten carry something, with p-values that depend on one another; 4,000 such families."""
    generator = np.random.default_rng(0)
    common = generator.normal(size=(4000, 1))
    p_values = stats.norm.sf(0.6 * common + 0.8 * generator.normal(size=(4000, 50)))
    p_values[:, :10] *= 1e-6
    alarms = sum(bool(np.any(holm(family)[10:] <= 0.05)) for family in p_values)
    assert stats.binom.sf(alarms - 1, 4000, 0.05) > 1e-3
    assert np.mean([np.any(family[10:] <= 0.05) for family in p_values]) > 0.5  # what correcting is for


@pytest.mark.parametrize("wrong", [[[0.5]], [1.5], [-0.1], [np.nan]])
def test_what_is_no_p_value_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm(np.array(wrong))
