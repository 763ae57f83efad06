"""Scores that suspects have in common: no input has a say in its own weights, and clean inputs are flagged at alpha."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from detectors.calibration.plan import calibrate_by_plan, plan_calibration
from detectors.shared_units.combine import Surprise, joint_p_values
from detectors.shared_units.learn_scores import (
    LEAST,
    MOST,
    CleanScores,
    Weighting,
    clean_scores,
    learn_scores,
    weighted_sum,
)

SCORES = 6


def heavy(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Scores that hang together and have heavy tails, as those of features have."""
    return rng.standard_t(5, (*shape, 1)) + rng.standard_t(4, (*shape, SCORES))


def batch(seed: int, clean: int = 120, inputs: int = 100, folds: int = 5, raised: int = 0) -> tuple:
    """Clean images and a batch; `raised` inputs have two of their scores raised, which a mean of all hardly shows."""
    rng = np.random.default_rng(seed)
    of_image = rng.permutation(np.arange(clean) % folds) if folds > 1 else np.arange(clean) % 4 - 1
    if folds == 1:
        of_image = np.minimum(of_image, 0)
    z, own = heavy(rng, inputs, folds), heavy(rng, clean)
    z = z[:, :1] + 0.1 * rng.normal(size=z.shape)  # by the densities of one fold as by those of another
    z[:raised, :, :2] += 9
    known = CleanScores(own, np.ones(clean, bool), own.mean(1), of_image)
    return known, z.mean(2), z, rng.permutation(np.arange(inputs) % 5)


def test_weights_are_fishers() -> None:
    """Without a ridge, and with suspects that no clean image accounts for, those of scikit-learn's discriminant."""
    known, combined, z, parts = batch(0, clean=400, inputs=500, folds=1, raised=250)
    weighting = learn_scores(known, combined, z, parts).weightings[2][0]
    assert weighting is not None
    others, ordinary = parts != 2, np.clip(known.z[known.others(0)], LEAST, MOST)
    own = known.combined[known.others(0)]
    limit = np.sort(own)[int(np.ceil(0.98 * len(own))) - 1]
    chosen = combined[others, 0] > limit
    suspects = np.clip(z[others, 0][chosen], LEAST, MOST)
    purity = 1 - 0.02 * others.sum() / len(suspects)
    assert weighting.purity == pytest.approx(purity)
    # A discriminant has the covariance within both groups: give it a second group that is the first, moved.
    shift = suspects.mean(0) - ordinary.mean(0) - (1 - purity) * (ordinary[own > limit].mean(0) - ordinary.mean(0))
    both, which = np.concatenate([ordinary, ordinary + shift]), np.repeat([0, 1], len(ordinary))
    ridge = 0.3 * np.var(ordinary, axis=0, ddof=1).mean()
    noise = np.sqrt(ridge) * _orthonormal(len(ordinary), ordinary - ordinary.mean(0)) * np.sqrt(len(ordinary) - 1)
    reference = LinearDiscriminantAnalysis(solver="lsqr").fit(both + np.tile(noise, (2, 1)), which)
    cosine = weighting.weights @ reference.coef_[0]
    cosine /= np.linalg.norm(weighting.weights) * np.linalg.norm(reference.coef_[0])
    assert cosine == pytest.approx(1, abs=1e-6)


def _orthonormal(rows: int, to: np.ndarray) -> np.ndarray:
    """Columns of length one with mean zero, orthogonal to one another and to those given."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(np.concatenate([np.ones((rows, 1)), to, rng.normal(size=(rows, SCORES))], axis=1))[0]
    return basis[:, -SCORES:]


@pytest.mark.parametrize("part", range(5))
def test_inputs_have_no_say_in_the_weights_of_their_own_part(part: int) -> None:
    known, combined, z, parts = batch(part, raised=40)
    learned = learn_scores(known, combined, z, parts)
    changed, other = z.copy(), combined.copy()
    changed[parts == part] = 3 - changed[parts == part]
    other[parts == part] += 7
    again = learn_scores(known, other, changed, parts)
    assert all(same(*pair) for pair in zip(learned.weightings[part], again.weightings[part], strict=True))
    assert not same(learned.weightings[(part + 1) % 5][0], again.weightings[(part + 1) % 5][0])


def test_clean_images_have_no_say_in_the_weights_of_their_own_fold() -> None:
    known, combined, z, parts = batch(1, raised=40)
    learned = learn_scores(known, combined, z, parts)
    own = known.folds == 3
    changed = replace(known, z=np.where(own[:, None], 9 - known.z, known.z), combined=known.combined + 5 * own)
    again = learn_scores(changed, combined, z, parts)
    for part in range(5):
        assert same(learned.weightings[part][3], again.weightings[part][3])
        assert not same(learned.weightings[part][0], again.weightings[part][0])


def same(one: Weighting | None, other: Weighting | None) -> bool:
    if one is None or other is None:
        return one is other
    return (
        one.purity == other.purity
        and np.array_equal(one.weights, other.weights)
        and np.array_equal(one.surprise.clean, other.surprise.clean)
    )


def test_scores_of_shards_are_those_of_the_batch() -> None:
    known, combined, z, parts = batch(2, raised=40)
    learned = learn_scores(known, combined, z, parts)
    scores = learned.score(z, parts)
    assert scores.max() > 1
    for size in (1, 3, 17):
        shards = [learned.score(z[k : k + size], parts[k : k + size]) for k in range(0, len(z), size)]
        assert np.array_equal(np.concatenate(shards), scores)


def test_clean_images_and_inputs_are_treated_alike() -> None:
    """An input with the scores of a clean image gets what that image gets, by every part and its fold."""
    known, combined, z, parts = batch(3, raised=40)
    learned = learn_scores(known, combined, z, parts)
    of_clean = learned.clean_scores(known)
    rows = np.arange(len(known.folds))
    for part in range(5):
        as_inputs = learned.score(np.repeat(known.z[:, None], 5, axis=1), np.full(len(rows), part))
        assert np.array_equal(as_inputs[rows, known.folds], of_clean[:, part])


def p_values(known: CleanScores, combined: np.ndarray, z: np.ndarray, parts: np.ndarray) -> np.ndarray:
    learned = learn_scores(known, combined, z, parts)
    calibrates = known.folds >= 0
    nats = Surprise(np.sort(known.combined[calibrates]))
    clean = (nats(known.combined)[:, None] + learned.clean_scores(known))[calibrates]
    return joint_p_values(clean, known.folds[calibrates], nats(combined) + learned.score(z, parts), parts)


@pytest.mark.parametrize(("folds", "raised"), [(5, 0), (5, 30), (1, 0), (1, 30)])
def test_inputs_like_clean_images_are_flagged_at_alpha(folds: int, raised: int) -> None:
    p = np.array([p_values(*batch(seed, 200, 60 + raised, folds, raised))[raised:] for seed in range(400)])
    for alpha in (0.01, 0.05):
        assert stats.binom.sf((p[:, 0] <= alpha).sum() - 1, len(p), alpha) > 1e-3
        rates = (p <= alpha).mean(1)
        error = rates.std(ddof=1) / np.sqrt(len(rates))
        assert rates.mean() < alpha + 3 * error
        assert rates.mean() > alpha / 2, "so conservative that it would miss triggers"


def test_what_suspects_have_in_common_finds_more_than_the_mean_of_all_scores() -> None:
    found = []
    for seed in range(20):
        known, combined, z, parts = batch(seed, 300, 200, 5, 60)
        nats = Surprise(np.sort(known.combined))
        alone = joint_p_values(np.repeat(nats(known.combined)[:, None], 5, axis=1), known.folds, nats(combined), parts)
        found.append([(p[:60] <= 0.01).mean() for p in (alone, p_values(known, combined, z, parts))])
    alone, together = np.mean(found, axis=0)
    assert together > alone + 0.2


def test_few_suspects_say_nothing() -> None:
    known, combined, z, parts = batch(4)
    learned = learn_scores(known, np.full(combined.shape, -9.0), z, parts)
    assert all(weighting is None for by_fold in learned.weightings for weighting in by_fold)
    assert not learned.score(z, parts).any()
    assert not np.nan_to_num(learned.clean_scores(known)).any()


def test_without_other_clean_images_nothing_is_learned() -> None:
    known, combined, z, parts = batch(5, folds=1)
    alone = replace(known, folds=np.zeros(len(known.folds), np.int64))
    assert learn_scores(alone, combined, z, parts).weightings[0] == (None,)


def test_infinite_scores_count_as_the_largest() -> None:
    assert weighted_sum(np.array([[np.inf, -np.inf]]), np.array([1.0, 1.0])).tolist() == [MOST + LEAST]


@pytest.mark.parametrize("classes", [2, 10])
def test_scores_are_kept_of_images_that_no_density_saw(classes: int) -> None:
    for count in (100, 2000):
        plan = plan_calibration(np.arange(count) % classes, seed=0)
        scores = np.random.default_rng(0).random((len(plan.unseen()), 3)) + 1
        enters = np.array([True, False, True])
        calibration = calibrate_by_plan(scores, np.zeros(3), plan, 1.0, enters)
        known = clean_scores(plan, calibration, scores)
        assert np.array_equal(np.flatnonzero(known.scored), np.sort(plan.unseen()))
        assert np.array_equal(known.z[plan.unseen()], calibration.standardiser(scores)[:, enters])
        fold_values = [np.sort(known.combined[known.folds == fold]) for fold in range(calibration.num_folds)]
        assert np.array_equal(np.concatenate(fold_values), calibration.combined)
        assert (known.folds[~known.scored] == -1).all()


def test_what_does_not_fit_together_is_refused() -> None:
    known, combined, z, parts = batch(6)
    with pytest.raises(ValueError, match="combined scores"):
        learn_scores(known, combined[:, :4], z, parts)
    with pytest.raises(ValueError, match="two parts"):
        learn_scores(known, combined, z, np.zeros(len(parts), int))
    with pytest.raises(ValueError, match="scores"):
        learn_scores(known, combined, z, parts).score(z[:, :3], parts)
    with pytest.raises(ValueError, match="finite"):
        replace(known, z=np.where(known.z > 2, np.nan, known.z))
    with pytest.raises(ValueError, match="that calibrate"):
        replace(known, scored=np.zeros(len(known.scored), bool))
    with pytest.raises(ValueError, match="are needed, got"):
        replace(known, combined=known.combined[1:])
