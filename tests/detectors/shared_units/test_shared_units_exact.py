"""Closed-form p-values of single units, against SciPy, against all exchanges, and by simulation."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats
from unit_samples import assert_superuniform

from detectors.shared_units.exact import unit_p_values
from detectors.shared_units.likelihood_ratio import Ranking, rank


@pytest.mark.parametrize(("clean", "inputs"), [(10, 1), (12, 40), (100, 25), (250, 500)])
def test_one_stratum_is_the_beta_binomial_test_of_exceedances(clean: int, inputs: int) -> None:
    rng = np.random.default_rng(clean)
    values = rng.random((clean + inputs, 300), np.float32)
    values[clean:] += np.linspace(0, 1.2, 300, dtype=np.float32)
    labels = np.arange(clean + inputs) >= clean
    p, above = unit_p_values(rank(values, clean + inputs), labels, np.zeros(clean + inputs, int))
    loudest = -np.sort(-values[:clean], axis=0)
    single = []
    for allowed in (0, 1, 3):
        exceed = (values[clean:] > loudest[allowed]).sum(0)
        # Summed up from the tail: SciPy's survival function is one minus the rest, and has no digits left there.
        chances = stats.betabinom.pmf(np.arange(inputs, -1, -1), inputs, allowed + 1, clean - allowed)
        single.append(np.cumsum(chances)[inputs - exceed])
    np.testing.assert_allclose(p, np.minimum(1, 3 * np.min(single, axis=0)), rtol=1e-7)
    assert above.tolist() == (values[clean:] > loudest[0]).sum(0).tolist()


def reach(ranking: Ranking, unit: int, labels: np.ndarray, allowed: int) -> int:
    """How many images are louder than all, but for `allowed` clean ones; equally loud ones come all or not at all."""
    found = 0
    for length in range(1, len(ranking.order) + 1):
        images = ranking.order[:length, unit]
        if ranking.ends[length - 1, unit] and (~labels[images]).sum() <= allowed:
            found = length
    return found


def exchanges(labels: np.ndarray, strata: np.ndarray) -> list[np.ndarray]:
    """Every labelling with as many inputs in each stratum."""
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    result = []
    for chosen in product(*(combinations(group, int(labels[group].sum())) for group in groups)):
        other = np.zeros(len(labels), bool)
        other[np.concatenate([np.array(images, int) for images in chosen])] = True
        result.append(other)
    return result


@pytest.mark.parametrize("seed", range(12))
def test_several_strata_are_as_all_exchanges_of_labels_say(seed: int) -> None:
    """With ties, silence, strata of clean images alone and of inputs alone, and short rankings."""
    rng = np.random.default_rng(seed)
    images = 11
    strata = rng.choice([2, 5, 9, 11], images, p=[0.4, 0.4, 0.1, 0.1])
    labels = rng.random(images) < 0.5
    values = rng.integers(0, 8 if seed % 2 else 1000, (images, 5)).astype(np.float32) + 2 * labels[:, None]
    values[rng.random(values.shape) < 0.2] = -np.inf
    ranking = rank(values, [4, 7, 11][seed % 3])
    everything = exchanges(labels, strata)
    p, above = unit_p_values(ranking, labels, strata)
    for unit in range(5):
        single = []
        for allowed in (0, 1, 3):
            observed = reach(ranking, unit, labels, allowed)
            single.append(np.mean([reach(ranking, unit, other, allowed) >= observed for other in everything]))
        assert p[unit] == pytest.approx(min(1.0, 3 * min(single)), rel=1e-9)
        assert above[unit] == reach(ranking, unit, labels, 0)


@pytest.mark.parametrize("levels", [0, 12])
def test_p_values_of_exchangeable_images_are_superuniform(levels: int) -> None:
    """Strata with other distributions and other shares of inputs; thousands of independent units, some with ties."""
    rng = np.random.default_rng(levels)
    strata = np.repeat([0, 1, 2, 3], [60, 30, 20, 10])
    labels = rng.permuted(strata % 2 == 0) | (strata == 1) & (rng.random(120) < 0.8)
    values = rng.standard_t(3, (120, 6000)) * (1 + strata[:, None]) + 2 * strata[:, None]
    if levels:
        values = np.round(np.clip(values, 0, levels))
    for top in (20, 120):
        p, _ = unit_p_values(rank(values.astype(np.float32), top), labels, strata)
        assert_superuniform(p)


def test_one_stratum_for_all_would_be_wrong_there() -> None:
    """What the test above would look like if strata were ignored: the check can fail."""
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1], 60)
    labels = rng.random(120) < np.where(strata == 1, 0.9, 0.2)
    values = (rng.standard_normal((120, 2000)) + 4 * strata[:, None]).astype(np.float32)
    p, _ = unit_p_values(rank(values, 120), labels, np.zeros(120, int))
    with pytest.raises(AssertionError, match="at most"):
        assert_superuniform(p)
    assert_superuniform(unit_p_values(rank(values, 120), labels, strata)[0])


def test_silent_units_have_p_value_one() -> None:
    p, above = unit_p_values(rank(np.full((9, 2), -np.inf, np.float32), 5), np.arange(9) > 3, np.zeros(9, int))
    assert p.tolist() == [1, 1]
    assert above.tolist() == [0, 0]


def test_lengths_that_differ_are_refused() -> None:
    ranking = rank(np.zeros((4, 1), np.float32), 2)
    with pytest.raises(ValueError, match=r"\(4,\) and \(3,\)"):
        unit_p_values(ranking, np.ones(4, bool), np.zeros(3, int))
