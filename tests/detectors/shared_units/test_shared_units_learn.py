"""Units that other inputs chose: no input has a say in what it is judged by, and their order none in anything."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from unit_samples import rectified

from detectors.shared_units.batch import shared_units_test
from detectors.shared_units.combine import joint_p_values
from detectors.shared_units.learn import LearnedUnits, learn_units
from detectors.shared_units.likelihood_ratio import log_likelihood_ratios, rank, top_of, weights
from detectors.shared_units.reference import UnitReference, fit_units


def batch(seed: int, clean: int = 80, inputs: int = 60, units: int = 24, levels: float = 0) -> tuple:
    """A reference with five folds, and a batch with its strata and parts; rounded to a few levels if asked."""
    rng = np.random.default_rng(seed)
    every = rectified(rng, clean + inputs, units)
    if levels:
        every = np.minimum(np.round(every), levels).astype(np.float32)
    strata = rng.integers(0, 3, clean + inputs)
    reference = fit_units(every[:clean], strata[:clean], rng.permutation(np.arange(clean) % 5))
    return reference, every[clean:], strata[clean:], rng.permutation(np.arange(inputs) % 5)


def same(one: LearnedUnits, other: LearnedUnits, part: int) -> bool:
    return all(
        np.array_equal(getattr(one, name)[part], getattr(other, name)[part]) for name in ("units", "weights", "levels")
    )


@pytest.mark.parametrize("part", range(5))
def test_inputs_have_no_say_in_the_units_of_their_own_part(part: int) -> None:
    reference, values, strata, parts = batch(part)
    learned = learn_units(reference, values, strata, parts)
    changed = values.copy()
    changed[parts == part] = np.random.default_rng(9).permuted(changed[parts == part] + 50, axis=1)
    changed[np.flatnonzero(parts == part)[:3]] = 0
    again = learn_units(reference, changed, strata, parts)
    assert same(learned, again, part)
    assert not any(same(learned, again, other) for other in range(5) if other != part)


def test_clean_images_have_no_say_in_the_units_of_their_own_fold() -> None:
    reference, values, strata, parts = batch(1)
    learned = learn_units(reference, values, strata, parts)
    table = np.where(np.isfinite(reference.table), reference.table, 0)
    own = reference.folds == 2
    table[own] = np.random.default_rng(9).permutation(table[own])
    changed = fit_units(table.astype(np.float32), reference.strata, reference.folds)
    again = learn_units(changed, values, strata, parts)
    assert np.array_equal(learned.units[:, 2], again.units[:, 2])
    assert np.array_equal(learned.weights[:, 2], again.weights[:, 2])
    assert np.array_equal(learned.levels[:, 2], again.levels[:, 2])


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_the_order_of_inputs_and_of_clean_images_changes_nothing(seed: int) -> None:
    """Not even in the last digit, with many equally loud images."""
    reference, values, strata, parts = batch(seed, levels=4)
    rng = np.random.default_rng(seed + 1)
    order, clean = rng.permutation(len(values)), rng.permutation(reference.size)
    shuffled = UnitReference(
        reference.values,
        np.argsort(clean)[reference.images].astype(np.int32),
        reference.cut,
        reference.strata[clean],
        reference.folds[clean],
    )
    learned = learn_units(reference, values, strata, parts)
    again = learn_units(shuffled, values[order], strata[order], parts[order])
    assert all(same(learned, again, part) for part in range(5))
    assert np.array_equal(again.score(values[order], parts[order]), learned.score(values, parts)[order])
    assert np.array_equal(again.clean_scores(shuffled), learned.clean_scores(reference)[clean])


def test_scores_of_shards_are_those_of_the_batch() -> None:
    reference, values, strata, parts = batch(3)
    learned = learn_units(reference, values, strata, parts)
    scores = learned.score(values, parts)
    for size in (1, 2, 3, 7, 33):
        shards = [learned.score(values[k : k + size], parts[k : k + size]) for k in range(0, len(values), size)]
        assert np.array_equal(np.concatenate(shards), scores)


def test_units_are_the_strongest_of_the_others_and_scores_are_as_defined() -> None:
    reference, values, strata, parts = batch(4)
    learned = learn_units(reference, values, strata, parts)
    scores, clean_scores = learned.score(values, parts), learned.clean_scores(reference)
    loud = reference.loud(values)
    for part, fold in ((0, 0), (3, 1), (4, 4)):
        clean = reference.folds != fold
        pool = np.concatenate([reference.table[clean], loud[parts != part]])
        labels = np.arange(len(pool)) >= clean.sum()
        every = np.concatenate([reference.strata[clean], strata[parts != part]])
        ranking = rank(pool, top_of(len(pool), int(clean.sum()), len(reference.values)))
        ratios = log_likelihood_ratios(ranking, labels, weights(labels, every))
        units = sorted(range(24), key=lambda u: (-ratios[u], u))[:16]
        assert learned.units[part, fold].tolist() == units
        weight = ratios[units] / ratios[units].mean()
        np.testing.assert_allclose(learned.weights[part, fold], weight)

        def score(images: np.ndarray, image: int) -> float:
            as_loud = (reference.table[clean][:, units] >= images[image, units]).sum(0)  # noqa: B023
            return sum(w * math.log(5 / (1 + min(4, c))) for w, c in zip(weight, as_loud, strict=True))  # noqa: B023

        for image in np.flatnonzero(parts == part)[:5]:
            assert scores[image, fold] == pytest.approx(score(loud, image))
        for image in np.flatnonzero(reference.folds == fold)[:5]:
            assert clean_scores[image, part] == pytest.approx(score(reference.table, image))


def test_images_that_calibrate_nothing_have_no_score() -> None:
    reference, values, strata, parts = batch(5)
    reference.folds[:7] = -1
    scores = learn_units(reference, values, strata, parts).clean_scores(reference)
    assert np.isnan(scores[:7]).all()
    assert np.isfinite(scores[7:]).all()


@pytest.mark.parametrize("silent", [5, 60, 80])
def test_a_silent_input_is_scored_like_a_silent_clean_image(silent: int) -> None:
    """In a unit that only a few clean images speak up in, or none, and that a trigger wakes."""
    reference, values, strata, parts = batch(6)
    table = np.where(np.isfinite(reference.table), reference.table, 0)
    table[:silent, 3] = 0
    reference = fit_units(table.astype(np.float32), reference.strata, reference.folds)
    quiet = values.copy()
    quiet[:, 3] = 0
    triggered = quiet.copy()
    triggered[::3, 3] = 90
    learned = learn_units(reference, triggered, strata, parts)
    assert (learned.units == 3).any(2).all()
    for value in (-1.0, 0.0, -np.inf):
        image = np.full((1, 24), value, np.float32)
        assert learned.score_one(image, 0, 0).tolist() == [0]
    assert learned.score_one(np.full((1, 24), -np.inf, np.float32), 0, 0).tolist() == [0]
    woken = np.zeros((1, 24), np.float32)
    woken[0, 3] = 90
    assert learned.score_one(woken, 0, 0)[0] > 1


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("dead", [False, True])
def test_planted_triggers_get_small_p_values_and_the_rest_does_not(share: float, dead: bool) -> None:
    rng = np.random.default_rng(int(share * 100))
    clean, values = rectified(rng, 200, 200), rectified(rng, 200, 200)
    triggered = rng.permutation(200) < 200 * share
    if dead:
        clean[:, :3], values[:, :3] = 0, 0
    values[triggered, :3] += 40
    folds, parts = rng.permutation(np.arange(200) % 5), rng.integers(0, 5, 200)
    none = np.zeros(200, int)
    reference = fit_units(clean, none, folds)
    learned = learn_units(reference, values, none, parts)
    p = joint_p_values(learned.clean_scores(reference), folds, learned.score(values, parts), parts)
    assert (p[triggered] <= 0.05).mean() >= 0.95
    # The highest score of 200 clean images is hard to beat with few triggered inputs to learn from.
    assert (p[triggered] <= 0.01).mean() >= (0.9 if share >= 0.25 else 0)
    assert (p[~triggered] <= 0.05).mean() <= 0.1


@pytest.mark.parametrize("inputs", [2, 3, 40])
def test_nothing_is_learned_where_no_clean_image_is_in_another_fold(inputs: int) -> None:
    reference, values, strata, _ = batch(7, inputs=inputs)
    reference.folds[:] = 0
    parts = np.arange(inputs) % 2
    learned = learn_units(reference, values, strata, parts)
    assert learned.score(values, parts).tolist() == [[0]] * inputs


def test_strata_without_clean_images_have_no_say() -> None:
    reference, values, strata, parts = batch(8)
    values[strata == 2, 5] += 90
    other = np.where(strata == 2, 99, strata)
    with_them, without = (
        learn_units(reference, values, strata, parts),
        learn_units(reference, values, other, parts),
    )
    assert (with_them.units[:, :, 0] == 5).all()
    assert not (without.units[:, :, 0] == 5).any()


def test_fewer_units_than_are_chosen() -> None:
    reference, values, strata, parts = batch(9, units=3)
    learned = learn_units(reference, values, strata, parts)
    assert learned.units.shape == (5, 5, 3)
    assert (np.sort(learned.units, axis=2) == [0, 1, 2]).all()


def test_bad_input_is_refused() -> None:
    reference, values, strata, parts = batch(10)
    for arguments, named in (
        ((values[:, :5], strata, parts), r"\(60, 5\)"),
        ((values[:9], strata, parts), r"\(9, 24\).*\(60,\)"),
        ((values, strata, parts[:9]), r"\(9,\)"),
        ((values, strata, np.zeros(60, int)), r"\[0\]"),
        ((values, strata, parts - 1), r"\[-1, 0, 1, 2, 3\]"),
    ):
        with pytest.raises(ValueError, match=named):
            learn_units(reference, *arguments)
    learned = learn_units(reference, values, strata, parts)
    with pytest.raises(ValueError, match=r"\(60, 24\) and \(9,\)"):
        learned.score(values, parts[:9])
    with pytest.raises(ValueError, match=r"\(24,\) and \(60,\)"):
        learned.score(values[0], parts)


@pytest.mark.parametrize("levels", [0, 2])
@pytest.mark.parametrize("block", [1, 500, 1000])
def test_a_few_units_at_a_time_give_what_all_at_once_give(
    monkeypatch: pytest.MonkeyPatch, block: int, levels: float
) -> None:
    reference, values, strata, parts = batch(5, levels=levels)
    learned, test = learn_units(reference, values, strata, parts), shared_units_test(reference, values, strata)
    monkeypatch.setattr("detectors.shared_units.reference.BLOCK", block)
    assert len(list(reference.blocks(len(values)))) == {1: 24, 500: 8, 1000: 4}[block]
    again = learn_units(reference, values, strata, parts)
    assert all(same(learned, again, part) for part in range(5))
    assert np.array_equal(learned.clean_scores(reference), again.clean_scores(reference))
    assert shared_units_test(reference, values, strata) == test
