"""Scores of weight draws, and the draws themselves."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import arrays
from scipy import special, stats

from detectors.bayesian.draws import draw_weights, draws_digest
from detectors.bayesian.uncertainty import DrawStatistics

logit_arrays = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(2, 5)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-200, 200, width=32))
)


def scored(logits: np.ndarray) -> dict:
    statistics = DrawStatistics(*logits.shape[1:])
    for draw in logits:
        statistics.add(draw)
    return statistics.scores()


@given(logit_arrays)
def test_scores_equal_a_direct_computation(logits: np.ndarray) -> None:
    p = special.softmax(logits.astype(np.float64), axis=-1)
    scores = scored(logits)
    predictive = stats.entropy(p.mean(0), axis=-1)
    expected = stats.entropy(p, axis=-1).mean(0)
    np.testing.assert_allclose(scores["predictive-entropy"], predictive, atol=1e-12)
    np.testing.assert_allclose(scores["expected-entropy"], expected, atol=1e-12)
    np.testing.assert_allclose(scores["bald"], predictive - expected, atol=1e-12)
    # The mutual information in its other form: mean divergence of the draws from their mean.
    divergence = special.rel_entr(p, p.mean(0)).sum(-1).mean(0)
    np.testing.assert_allclose(scores["bald"], divergence, atol=1e-9)
    votes = np.stack([np.bincount(column, minlength=p.shape[-1]) for column in logits.argmax(-1).T])
    np.testing.assert_allclose(scores["variation-ratio"], 1 - votes.max(-1) / len(logits))


@given(logit_arrays)
def test_mutual_information_lies_between_zero_and_the_predictive_entropy(logits: np.ndarray) -> None:
    scores = scored(logits)
    assert (scores["bald"] >= 0).all()
    assert (scores["bald"] <= scores["predictive-entropy"] + 1e-12).all()
    assert (scores["predictive-entropy"] <= np.log(logits.shape[-1]) + 1e-12).all()


def test_one_draw_or_equal_draws_disagree_about_nothing() -> None:
    logits = np.random.default_rng(0).normal(size=(1, 5, 3)).astype(np.float32)
    np.testing.assert_allclose(scored(np.repeat(logits, 4, 0))["bald"], 0, atol=1e-12)
    assert scored(logits)["variation-ratio"].max() == 0


SHAPES = [(4, 3, 3, 3), (5, 4)]
MEANS = [np.random.default_rng(1).normal(size=shape).astype(np.float32) for shape in SHAPES]
STDS = [np.abs(mean) * 0.1 + 0.01 for mean in MEANS]


def test_draws_have_the_posterior_mean_and_deviation() -> None:
    draws = [draw_weights(MEANS, STDS, 0, number) for number in range(4000)]
    for layer, (mean, std) in enumerate(zip(MEANS, STDS, strict=True)):
        z = (np.stack([draw[layer] for draw in draws]) - mean) / std
        assert abs(z.mean()) < 0.01
        assert np.abs(z.mean(0)).max() < 5 / np.sqrt(4000)
        assert abs(z.std() - 1) < 0.01
        assert stats.kstest(z[:, ..., 0].ravel()[:5000], "norm").pvalue > 1e-3


def test_draws_are_repeatable_one_by_one_and_differ_by_seed_and_number() -> None:
    again = draw_weights(MEANS, STDS, 7, 3)
    for first, second in zip(draw_weights(MEANS, STDS, 7, 3), again, strict=True):
        np.testing.assert_array_equal(first, second)
        assert first.dtype == np.float32
    for seed, number in ((7, 4), (8, 3), (2**63 - 1, 3)):
        assert not np.array_equal(draw_weights(MEANS, STDS, seed, number)[0], again[0])
    # What NumPy's Philox gives: another generator would silently change every score of a stored profile.
    noise = draw_weights([np.zeros(3, np.float32)], [np.ones(3, np.float32)], 0, 0)[0]
    np.testing.assert_allclose(noise, [0.059911035, 0.015559634, -1.1644385], rtol=1e-6)
    assert draws_digest(MEANS, STDS, 0) != draws_digest(MEANS, STDS, 1)
