"""Ranks among the clean images of one fold: uniform for whatever is exchangeable with them, ties included."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from detectors.calibration.judge import Calibration, calibrate
from detectors.calibration.standardise import fit_standardiser
from detectors.drift.fold_ranks import fold_ranks


def calibration(clean: np.ndarray, folds: np.ndarray) -> Calibration:
    # Fitted on other values, so that an input is as much a stranger to it as a clean image is.
    return calibrate(clean, folds, fit_standardiser(np.arange(1.0, 20)[:, None] ** np.ones(clean.shape[1]),
                                                    np.zeros(clean.shape[1])), 2.0)  # fmt: skip


@given(st.lists(st.integers(1, 6), min_size=2, max_size=12))
def test_over_all_choices_of_the_input_the_rank_is_exactly_uniform(pool: list[int]) -> None:
    values = np.array(pool, float)[:, None]
    shares = np.zeros(len(pool))  # of each cell of [0, 1], what the choices put there
    for left_out in range(len(pool)):
        clean = np.delete(values, left_out, 0)
        rows = np.repeat(values[left_out][None, None], 2, 0)
        ranks = fold_ranks(calibration(clean, np.zeros(len(clean), int)), rows, np.zeros(2, int), np.array([0.0, 1.0]))
        low, high = np.rint(ranks[:, 0] * len(pool)).astype(int)
        np.testing.assert_allclose(ranks[:, 0] * len(pool), [low, high], atol=1e-9)
        shares[low:high] += 1 / (high - low)
    np.testing.assert_allclose(shares, 1)


@pytest.mark.parametrize("steps", [None, 3])
def test_pooled_ranks_of_clean_inputs_are_uniform(steps: int | None) -> None:
    rng, pooled = np.random.default_rng(2), []
    for _ in range(1500):
        folds = np.arange(40) % 3
        # Densities of every fold have a scale and a level of their own.
        level, scale = rng.normal(5, 2, 3), rng.uniform(0.5, 3, 3)
        clean, one = rng.normal(size=(40, 2)), rng.normal(size=2)
        if steps is not None:
            clean, one = np.rint(clean * steps) / steps, np.rint(one * steps) / steps
        scores = (level[:, None] + scale[:, None] * one)[None]
        found = calibration(level[folds, None] + scale[folds, None] * clean, folds)
        pooled.append(fold_ranks(found, scores, rng.integers(0, 3, 1), rng.random(1))[0])
    ranks = np.array(pooled)
    assert ranks.shape == (1500, 3)
    for column in ranks.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3


def test_louder_inputs_have_smaller_ranks_and_only_their_fold_counts() -> None:
    clean = np.arange(1.0, 21)[:, None]
    found = calibration(clean, np.repeat([0, 1], 10))
    scores = np.array([[[100.0], [0.0]], [[5.5], [100.0]], [[0.5], [100.0]]])
    ranks = fold_ranks(found, scores, np.zeros(3, int), np.full(3, 0.5))
    np.testing.assert_allclose(ranks[:, 0], [0.5 / 11, 5.5 / 11, 10.5 / 11])
    other = fold_ranks(found, scores, np.array([1, 1, 1]), np.full(3, 0.5))
    np.testing.assert_allclose(other[:, 0], [10.5 / 11, 0.5 / 11, 0.5 / 11])


def test_shapes_that_do_not_fit_are_refused() -> None:
    found = calibration(np.arange(1.0, 21)[:, None], np.repeat([0, 1], 10))
    for scores, folds, ties in [
        (np.zeros((2, 1, 1)), np.zeros(2, int), np.zeros(2)),
        (np.zeros((2, 2, 1)), np.zeros(1, int), np.zeros(2)),
        (np.zeros((2, 2, 1)), np.zeros(2, int), np.zeros(3)),
        (np.zeros((2, 2, 2)), np.zeros(2, int), np.zeros(2)),
    ]:
        with pytest.raises(ValueError, match="are needed"):
            fold_ranks(found, scores, folds, ties)
