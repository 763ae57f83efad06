"""The exact test by exchanges within strata: its p-value, its error rate, and when it stops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from unit_samples import assert_superuniform, rectified

from detectors.shared_units.likelihood_ratio import Ranking, Weights, log_likelihood_ratios, rank, weights
from detectors.shared_units.permutation import STOP_AT, evidence, exchange, permutation_p_value


def draw(rng: np.random.Generator, units: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exchangeable images inside three strata with other distributions and other shares of inputs."""
    strata = np.repeat([0, 1, 2], [30, 20, 16])
    labels = np.concatenate([rng.permutation(np.arange(k) < m) for k, m in ((30, 6), (20, 15), (16, 14))])
    loud = np.where(strata[:, None] == np.arange(units) % 3, 9.0, 0.0)
    return rectified(rng, 66, units) + loud.astype(np.float32), labels, strata


def p_value(values: np.ndarray, labels: np.ndarray, strata: np.ndarray, most: int, seed: int, top: int = 20) -> float:
    ranking, by = rank(values, top), weights(labels, strata)
    return permutation_p_value(ranking, labels, strata, by, most, np.random.default_rng(seed))


def test_p_values_of_exchangeable_images_are_superuniform() -> None:
    rng = np.random.default_rng(0)
    p = []
    for seed in range(600):
        values, labels, strata = draw(rng)
        p.append(p_value(values, labels, strata, 199, seed))
    assert_superuniform(np.array(p))
    # And not by never rejecting anything: continuous evidence has p-values that are close to uniform.
    assert np.mean(np.array(p) <= 0.25) > 0.15


def test_a_single_stratum_for_all_would_be_rejected_there() -> None:
    rng = np.random.default_rng(0)
    values, labels, _ = draw(rng)
    assert p_value(values, labels, np.zeros(66, int), 999, 0) < 0.02


def test_a_planted_unit_is_found() -> None:
    values, labels, strata = draw(np.random.default_rng(3))
    values[np.flatnonzero(labels)[::3], 4] += 40
    assert p_value(values, labels, strata, 1999, 0) < 0.005


def test_it_is_close_to_the_share_of_all_exchanges() -> None:
    rng = np.random.default_rng(5)
    labels, strata = np.arange(12) >= 7, np.zeros(12, int)
    for trial in range(4):
        values = rng.standard_t(3, (12, 3)).astype(np.float32)
        values[labels, 0] += trial / 2
        ranking, by = rank(values, 8), weights(labels, strata)
        observed = evidence(log_likelihood_ratios(ranking, labels, by))
        reached = []
        for chosen in combinations(range(12), 5):
            other = np.isin(np.arange(12), chosen)
            reached.append(evidence(log_likelihood_ratios(ranking, other, by)) >= observed - 1e-9)
        exact = float(np.mean(reached))
        drawn = np.array([p_value(values, labels, strata, 4999, seed, 8) for seed in range(10)])
        # Twenty of L is a fifth off or so; the mean of ten, a fifteenth.
        assert abs(np.log(drawn.mean() / exact)) < 0.3


def by_definition(ranking: Ranking, labels: np.ndarray, strata: np.ndarray, by: Weights, most: int, seed: int) -> float:
    """Besag and Clifford (1991), section 2: all the choices first, and then where it would have stopped."""
    rng = np.random.default_rng(seed)
    observed = evidence(log_likelihood_ratios(ranking, labels, by))
    drawn = [evidence(log_likelihood_ratios(ranking, exchange(labels, strata, rng), by)) for _ in range(most)]
    reached = np.cumsum([value >= observed * (1 - 1e-9) for value in drawn])
    if reached[-1] < STOP_AT:
        return float((reached[-1] + 1) / (most + 1))
    return STOP_AT / (int(np.argmax(reached == STOP_AT)) + 1)


@pytest.mark.parametrize("planted", [0, 1, 2, 3, 40])
@pytest.mark.parametrize("most", [1, 19, 20, 300])
def test_it_stops_as_defined(planted: int, most: int) -> None:
    values, labels, strata = draw(np.random.default_rng(planted))
    values[np.flatnonzero(labels)[:8], 2] += planted
    ranking, by = rank(values, 20), weights(labels, strata)
    p = permutation_p_value(ranking, labels, strata, by, most, np.random.default_rng(1))
    assert p == by_definition(ranking, labels, strata, by, most, 1)
    assert 1 / (most + 1) <= p <= 1


def test_it_is_the_same_again_and_whatever_the_order_of_units() -> None:
    values, labels, strata = draw(np.random.default_rng(2), units=40)
    values = np.round(values)
    first = p_value(values, labels, strata, 499, 9)
    assert 0.02 < first < 1
    assert p_value(values, labels, strata, 499, 9) == first
    for seed in range(5):
        shuffled = values[:, np.random.default_rng(seed).permutation(40)]
        assert p_value(shuffled, labels, strata, 499, 9) == first


def test_a_choice_with_the_same_evidence_counts_whatever_the_order_of_its_sums() -> None:
    rng = np.random.default_rng(0)
    values = np.where(np.arange(400) < 200, 2.0, 1.0).astype(np.float32)[:, None]
    labels = np.where(np.arange(400) < 200, np.arange(400) % 10 > 0, np.arange(400) % 3 > 1)
    strata = np.zeros(400, int)
    by = weights(labels, strata)
    observed = evidence(log_likelihood_ratios(rank(values, 300), labels, by))
    assert observed > 1
    for _ in range(30):
        other = labels.copy()
        other[:200] = rng.permutation(labels[:200])
        assert evidence(log_likelihood_ratios(rank(values, 300), other, by)) == observed


def test_exchanges_keep_each_stratum_s_count_and_are_all_as_likely() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([True, False, False, True, True, False, True, False])
    strata = np.array([4, 4, 4, 1, 1, 1, 1, 8])
    seen: dict[bytes, int] = {}
    for _ in range(3600):
        other = exchange(labels, strata, rng)
        assert (np.bincount(strata, other) == np.bincount(strata, labels)).all()
        seen[other.tobytes()] = seen.get(other.tobytes(), 0) + 1
    assert len(seen) == 3 * 4
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


@pytest.mark.parametrize(
    ("labels", "strata", "most", "named"),
    [(4, 3, 9, r"\(4,\), \(3,\), 9"), (4, 4, 0, r"\(4,\), \(4,\), 0"), (4, 4, -1, r"\(4,\), \(4,\), -1")],
)
def test_bad_input_is_refused(labels: int, strata: int, most: int, named: str) -> None:
    ranking = rank(np.zeros((4, 1), np.float32), 2)
    by = weights(np.ones(4, bool), np.zeros(4, int))
    with pytest.raises(ValueError, match=named):
        permutation_p_value(ranking, np.ones(labels, bool), np.zeros(strata, int), by, most, np.random.default_rng(0))
