"""MM-BD: margins of a network whose largest ones are known, and the p-value of the largest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from reference.maximum_margin import margin_p_value, maximum_margins


def test_margins_of_a_linear_network_are_at_the_corners():
    weights = torch.tensor([[2.0, -1.0, 0.5, 0.0], [-1.0, 3.0, 0.5, -2.0]])

    def network(images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ weights.T

    found = maximum_margins(network, (1, 2, 2), 2, seed=0)
    difference = weights[0] - weights[1]
    assert found[0] == pytest.approx(float(difference.clamp_min(0).sum()), abs=1e-5)
    assert found[1] == pytest.approx(float((-difference).clamp_min(0).sum()), abs=1e-5)
    assert np.array_equal(found, maximum_margins(network, (1, 2, 2), 2, seed=0))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(1.01, 3.0))
def test_a_larger_margin_is_less_probable(seed, factor):
    margins = np.random.default_rng(seed).gamma(9.0, 1.0, 10)
    larger = margins.copy()
    larger[margins.argmax()] *= factor
    assert 0 <= margin_p_value(larger) <= margin_p_value(margins) <= 1


def test_the_p_value_is_that_of_the_largest_of_as_many():
    count = 20_000  # so many that a fit to them gives the distribution back
    quantiles = stats.gamma.ppf((np.arange(count) + 0.5) / count, 4.0, scale=2.0)
    largest = stats.gamma.ppf(1 - 1e-5, 4.0, scale=2.0)
    assert margin_p_value(np.append(quantiles, largest)) == pytest.approx(1 - (1 - 1e-5) ** (count + 1), rel=0.1)
