"""A network among clean ones: the p-value against a count by hand, and its promise."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from detectors.probing.null import compare_networks

VALUES = arrays(float, (12, 3), elements=st.floats(0, 1).map(lambda value: round(value, 2)))


@given(VALUES, arrays(float, 3, elements=st.floats(0, 1)))
def test_p_value_is_the_share_of_networks_as_unusual(clean, own):
    found = compare_networks(own, clean, 0.1)
    pool = [*clean.tolist(), own.tolist()]
    # The nine-tenths quantile of 13: between the second and the third largest, a fifth of the way up.
    ranked = np.sort(np.array(pool), axis=0)
    usual = ranked[10] + 0.8 * (ranked[11] - ranked[10])
    unusual = [max(x - q for x, q in zip(row, usual, strict=True)) for row in pool]
    assert found.p_value == pytest.approx(np.mean([one >= unusual[-1] for one in unusual]))
    assert found.networks == 12


@given(VALUES, st.permutations(range(12)))
def test_order_of_the_clean_networks_does_not_matter(clean, order):
    own = np.array([0.3, 0.2, 0.9])
    one, other = compare_networks(own, clean, 0.1), compare_networks(own, clean[order], 0.1)
    assert (one.p_value, one.unusual, one.bounds.tolist()) == (other.p_value, other.unusual, other.bounds.tolist())


def test_exchangeable_networks_are_significant_no_more_often_than_the_level():
    generator = np.random.default_rng(1)
    # Heavy tails, and statistics that depend on each other.
    levels = generator.beta(0.5, 3, (3000, 20, 1))
    networks = np.clip(levels + generator.beta(1, 9, (3000, 20, 4)), 0, 1)
    found = np.array([compare_networks(some[0], some[1:], 0.05).p_value for some in networks])
    for level in (0.05, 0.1, 0.25):
        # Each of 20 networks is as likely to be the most unusual one: 3 standard deviations of 3,000 trials.
        assert (found <= level + 1e-12).mean() <= level + 3 * np.sqrt(level * (1 - level) / 3000)


def test_groups_share_the_level_whatever_their_scale():
    generator = np.random.default_rng(3)
    small, large = generator.beta(1, 30, (3000, 20, 2)), generator.beta(0.5, 1, (3000, 20, 5))
    networks = np.concatenate([small, large], axis=2)
    found = np.array([compare_networks(some[0], some[1:], 0.05, (2, 5)).p_value for some in networks])
    for level in (0.05, 0.1, 0.25):
        assert (found <= level + 1e-12).mean() <= level + 3 * np.sqrt(level * (1 - level) / 3000)
    # What is beyond all others in the group of small values is unusual, which it is not among all statistics at once.
    own, clean = networks[0][0].copy(), generator.permutation(networks[1:5].reshape(-1, 7))
    own[:2], own[2:] = 0.22, 0.0
    one = compare_networks(own, clean, 0.05, (2, 5))
    assert one.p_value <= 2 / 81
    assert (one.group, one.loudest in (0, 1)) == (0, True)
    assert compare_networks(own, clean, 0.05).p_value > 0.05


@given(VALUES, arrays(float, 3, elements=st.floats(0, 1)))
def test_networks_come_in_the_order_of_their_best_rank_then_of_the_next(clean, own):
    found = compare_networks(own, clean, 0.1, (1, 2))
    pool = np.vstack([clean, own])
    excess = pool - np.quantile(pool, 0.9, axis=0)
    unusual = [(row[0], max(row[1:])) for row in excess]
    ranks = [sorted(sum(other[by] >= one[by] for other in unusual) for by in (0, 1)) for one in unusual]
    assert found.p_value == pytest.approx(np.mean([one <= ranks[-1] for one in ranks]))
    assert excess[-1][found.loudest] == pytest.approx(unusual[-1][found.group])
    assert found.loudest == (0 if found.group == 0 else 1 + found.within[1])


def test_a_value_beyond_the_bound_is_significant_and_one_below_is_not():
    clean = np.random.default_rng(2).uniform(0, 0.3, (59, 2))
    bounds = compare_networks(np.array([0.15, 0.15]), clean, 0.05).bounds
    assert compare_networks(np.array([0.15, min(1.0, bounds[1] + 0.05)]), clean, 0.05).p_value <= 0.05
    assert compare_networks(np.array([0.15, bounds[1] - 0.05]), clean, 0.05).p_value > 0.05
    # Nineteen networks and the one in question: no p-value is below 1/20.
    assert np.isfinite(compare_networks(clean[0], clean[:19], 0.05).bounds).all()
    assert np.isinf(compare_networks(clean[0], clean[:18], 0.05).bounds).all()


def test_statistics_that_cannot_be_compared_are_refused():
    with pytest.raises(ValueError, match="statistics"):
        compare_networks(np.zeros(2), np.zeros((4, 3)), 0.05)
    for groups in ((1,), (3,), (2, 0), (3, -1)):
        with pytest.raises(ValueError, match="groups of all 2"):
            compare_networks(np.zeros(2), np.zeros((4, 2)), 0.05, groups)
    with pytest.raises(ValueError, match="between 0 and 1"):
        compare_networks(np.array([np.nan]), np.zeros((4, 1)), 0.05)
