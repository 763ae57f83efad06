"""Density scores in nats, and p-values of the joint evidence."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from detectors.shared_units.combine import Surprise, joint_p_values

SCORES = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize("count", [1, 2, 19, 20, 500])
def test_a_clean_image_s_nats_are_those_of_its_rank(count: int) -> None:
    clean = np.sort(np.random.default_rng(count).standard_t(3, count))
    expected = [-math.log((count - rank) / (count + 1)) for rank in range(count)]
    np.testing.assert_allclose(Surprise(clean)(clean), expected)


@pytest.mark.parametrize("count", [2, 10, 19, 20, 500])
def test_beyond_all_clean_images_it_goes_on_by_the_excess_of_the_highest(count: int) -> None:
    """On the scale of the scores, whatever that is, and however few there are."""
    clean = np.sort(np.random.default_rng(count).exponential(size=count))
    tail = clean[-max(2, count // 10) :]
    above = clean[-1] + np.array([0.0, 1.0, 2.0]) * np.mean(tail - tail[0])
    for scale in (1e-3, 1, 1e6):
        nats = Surprise(clean * scale)(above * scale)
        np.testing.assert_allclose(nats, math.log(count + 1) + np.arange(3), rtol=1e-6)


@given(arrays(np.float64, st.integers(1, 30), elements=SCORES), arrays(np.float64, 20, elements=SCORES))
def test_it_keeps_the_order_of_scores(clean: np.ndarray, scores: np.ndarray) -> None:
    nats = Surprise(np.sort(clean))(np.sort(scores))
    assert (np.diff(nats) >= 0).all()
    assert (nats > 0).all()
    assert np.isfinite(nats).all()


def test_scores_that_are_not_numbers_stay_the_most_suspicious() -> None:
    nats = Surprise(np.array([0.0, 1.0]))(np.array([np.nan, np.inf]))
    assert np.isnan(nats[0])
    assert nats[1] == np.inf
    inputs = nats[:, None]
    p = joint_p_values(np.array([[0.5], [0.9]]), np.zeros(2, int), inputs, np.zeros(2, int))
    np.testing.assert_allclose(p, 1 / 3)


@pytest.mark.parametrize(
    ("clean", "named"),
    [([], r"\(0,\)"), ([[1.0]], r"\(1, 1\)"), ([1.0, np.nan], r"\(2,\)"), ([2.0, 1.0], r"\[2.0, 1.0\]")],
)
def test_scores_without_an_order_are_refused(clean: list, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Surprise(np.array(clean, float))


@pytest.mark.parametrize("seed", range(5))
def test_joint_p_values_count_clean_images_by_the_function_of_their_fold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clean, inputs = rng.integers(0, 9, (40, 3)).astype(float), rng.integers(0, 9, (25, 4)).astype(float)
    folds, parts = rng.integers(-1, 4, 40), rng.integers(0, 3, 25)
    clean[folds < 0] = np.nan
    p = joint_p_values(clean, folds, inputs, parts)
    for k in range(25):
        reached = sum(clean[i, parts[k]] >= inputs[k, folds[i]] for i in range(40) if folds[i] >= 0)
        assert p[k] == pytest.approx((1 + reached) / (1 + (folds >= 0).sum()))


def test_bad_input_is_refused() -> None:
    two, parts = np.zeros((5, 2)), np.zeros(4, int)
    for arguments, named in (
        ((np.zeros(5), np.zeros(5, int), np.zeros((4, 1)), parts), r"\(5,\)"),
        ((two, np.zeros(6, int), np.zeros((4, 1)), parts), r"\(5, 2\).*\(6,\)"),
        ((two, np.zeros(5, int), np.zeros((3, 1)), parts), r"\(3, 1\).*\(4,\)"),
        ((two, np.zeros(5, int), np.zeros((4, 1)), parts + 2), "2"),
        ((two, np.zeros(5, int), np.zeros((4, 1)), parts - 1), "-1"),
        ((two, np.full(5, 3), np.zeros((4, 1)), parts), "3"),
    ):
        with pytest.raises(ValueError, match=named):
            joint_p_values(*arguments)
