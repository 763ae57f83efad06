"""Recognising a pattern in inputs: against patterns that were put there, and an exact p-value by counting."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.probing.blend import Blend
from detectors.probing.carriers import carriers_p_value, likeness
from detectors.probing.patch import Patch
from detectors.probing.tint import Tint
from detectors.probing.warp import Warp
from detectors.probing.waves import Cosine, Wave

PATTERNS = (
    Patch(5, 3, 20, "white"),
    Patch(5, 3, 20, "noise", seed=4),
    Wave(3, 1, 0, 20.0),
    Cosine(4, 5, 20.0),
    Blend(2, 0.15, 7),
)


def pictures(count: int, seed: int) -> np.ndarray:
    """Smooth pictures ``(count, 32, 32, 3)`` uint8 with a little noise."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(30, 220, (count, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    return np.clip(coarse + generator.normal(0, 4, (count, 32, 32, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("probe", PATTERNS, ids=lambda probe: probe.describe())
def test_inputs_that_carry_a_pattern_are_told_from_those_that_do_not(probe):
    clean, others = likeness(probe, pictures(99, 0)), likeness(probe, pictures(99, 1))
    carrying = likeness(probe, probe.stamp(pictures(99, 2)))
    assert (carrying > clean.max()).mean() >= 0.9
    assert (others > clean.max()).sum() <= 5


def test_an_estimate_is_the_amplitude():
    flat = np.full((1, 32, 32, 1), 128, np.uint8)
    assert likeness(Wave(0, 2, 0, 20.0), Wave(0, 2, 0, 10.0).stamp(flat))[0] == pytest.approx(0.5, abs=0.03)
    assert likeness(Tint((24,)), Tint((12,)).stamp(flat))[0] == pytest.approx(0.5)


def test_a_warp_leaves_nothing_to_compare():
    assert likeness(Warp(4, 1.0, 0), pictures(2, 0)) is None


@given(st.integers(1, 5), st.integers(0, 5), st.data())
def test_the_p_value_is_what_counting_gives(inputs, clean, data):
    carrying = data.draw(st.integers(0, inputs))
    # Every order of so many different values is as likely: which places the inputs have among them.
    orders = combinations(range(inputs + clean), inputs)
    top = range(inputs + clean - carrying, inputs + clean)
    favourable = sum(set(top) <= set(order) for order in orders)
    assert carriers_p_value(carrying, inputs, clean) == pytest.approx(favourable / comb(inputs + clean, inputs))


@pytest.mark.parametrize("numbers", [(-1, 3, 3), (4, 3, 3), (1, 3, -1)])
def test_impossible_numbers_are_refused(numbers):
    with pytest.raises(ValueError, match="carrying"):
        carriers_p_value(*numbers)
