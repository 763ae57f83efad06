"""Distances and p-values of Kolmogorov and Smirnov, against SciPy's."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy import stats

from detectors.drift.kolmogorov import distance_to_quantiles, distance_to_uniform, kolmogorov_p_value

VALUES = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1, width=16))


@given(VALUES)
def test_the_distance_to_the_uniform_distribution_is_scipys(values: np.ndarray) -> None:
    both = np.stack([values, values**2], 1)
    expected = [stats.kstest(column, "uniform").statistic for column in both.T]
    np.testing.assert_allclose(distance_to_uniform(both), expected, atol=1e-12)


@given(st.floats(0, 1), st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_p_value_is_the_limit_distributions(distance: float, one: int, other: int) -> None:
    expected = stats.kstwobign.sf(distance * np.sqrt(one * other / (one + other)))
    assert kolmogorov_p_value(distance, one, other) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert kolmogorov_p_value(distance, other, one) == kolmogorov_p_value(distance, one, other)


def test_the_p_value_is_about_that_of_two_samples() -> None:
    rng = np.random.default_rng(0)
    for move in (0.0, 0.1, 0.3):
        one, other = rng.normal(size=400), rng.normal(move, size=300)
        found = stats.ks_2samp(one, other, method="exact")
        assert kolmogorov_p_value(found.statistic, 400, 300) == pytest.approx(found.pvalue, rel=0.15)


@given(st.lists(st.integers(-8, 8), min_size=1, max_size=80), st.lists(st.integers(-8, 8), min_size=101, max_size=101))
def test_the_distance_to_a_samples_quantiles_is_nearly_that_to_the_sample(one: list[int], other: list[int]) -> None:
    # A sample of 101 is its own quantiles, but for the steps: a hundred of them between levels 0 and 1, not 101.
    exact = stats.ks_2samp(one, other).statistic
    values, quantiles = np.array(one, float), np.sort(np.array(other, float))
    assert distance_to_quantiles(values, quantiles) == pytest.approx(exact, abs=1 / 100 + 1e-9)


def test_quantiles_of_a_large_sample_do_for_the_sample() -> None:
    rng = np.random.default_rng(1)
    clean = rng.gamma(2, size=5000)
    quantiles = np.quantile(clean, np.linspace(0, 1, 101))
    for values in (rng.gamma(2, size=300), rng.gamma(3, size=300), 1.2 * rng.gamma(2, size=50)):
        expected = stats.ks_2samp(values, clean).statistic
        assert distance_to_quantiles(values, quantiles) == pytest.approx(expected, abs=0.02)


def test_values_outside_of_everything_are_at_distance_1() -> None:
    quantiles = np.linspace(0, 1, 101)
    assert distance_to_quantiles(np.full(7, 2.0), quantiles) == 1
    assert distance_to_quantiles(np.full(7, -2.0), quantiles) == 1
    # Of a reference that does not vary at all, as in size, everything else is a difference.
    assert distance_to_quantiles(np.full(7, 3.0), np.full(101, 3.0)) == 0
    assert distance_to_quantiles(np.full(7, 3.1), np.full(101, 3.0)) == 1
    assert distance_to_quantiles(np.full(7, 2.9), np.full(101, 3.0)) == 1


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0)])
def test_what_is_no_sample_is_refused(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="two samples"):
        kolmogorov_p_value(0.5, *sizes)
    with pytest.raises(ValueError, match="rows"):
        distance_to_uniform(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="quantiles"):
        distance_to_quantiles(np.zeros(sizes[0]), np.zeros(min(sizes[1], 1)))
