"""Directions in which suspects differ: no input has a say in its own, and clean inputs are flagged at alpha."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from detectors.calibration.plan import calibrate_by_plan, plan_calibration
from detectors.shared_units.clean_features import CleanFeatures, fit_clean_features
from detectors.shared_units.clean_scores import CleanScores, clean_scores
from detectors.shared_units.combine import Surprise, joint_p_values
from detectors.shared_units.learn_direction import Direction, LearnedDirections, Suspects, learn_directions

FEATURES, CLASSES = 6, 3
RAISED = 2


def heavy(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Features that hang together and have heavy tails."""
    return rng.standard_t(5, (*shape, 1)) + rng.standard_t(4, (*shape, FEATURES))


def batch(
    seed: int, clean: int = 120, inputs: int = 100, folds: int = 5, raised: int = 0, by: float = 6.0
) -> tuple[CleanScores, CleanFeatures, Suspects]:
    """Clean images and a batch; features of `raised` inputs lie off in one direction, and half their scores show it."""
    rng = np.random.default_rng(seed)
    of_image = rng.permutation(np.arange(clean) % folds) if folds > 1 else np.minimum(np.arange(clean) % 4 - 1, 0)
    own, of_inputs = (rng.integers(0, CLASSES, number) for number in (clean, inputs))
    centres = rng.normal(size=(CLASSES, FEATURES))
    values, others = heavy(rng, clean) + centres[own], heavy(rng, inputs) + centres[of_inputs]
    others[:raised, RAISED] += by
    kept = fit_clean_features([values.astype(np.float32)], own, CLASSES)
    known = CleanScores(np.abs(values - centres[own]).mean(1), np.ones(clean, bool), of_image)
    combined = np.abs(others - centres[of_inputs]).mean(1)[:, None] + 0.01 * rng.normal(size=(inputs, folds))
    combined[: raised // 2] += 3
    features = kept.standardised(others.astype(np.float32))
    return known, kept, Suspects(combined, features, of_inputs, rng.permutation(np.arange(inputs) % 5))


def test_directions_are_fishers() -> None:
    """With far more images than features, that of scikit-learn's discriminant with its own Ledoit-Wolf covariance."""
    known, kept, inputs = batch(0, clean=3000, inputs=3000, folds=1, raised=1500)
    direction = learn_directions(known, kept, inputs).directions[2][0]
    assert direction is not None
    others, scored = inputs.parts != 2, known.others(0)
    limit = np.sort(known.combined[scored])[int(np.ceil(0.98 * len(scored))) - 1]
    chosen = others & (inputs.combined[:, 0] > limit)
    assert direction.purity == pytest.approx(1 - 0.02 * others.sum() / chosen.sum())
    features = kept.features.astype(float)[known.folds != 0], inputs.features.astype(float)
    predicted = kept.predicted[known.folds != 0], inputs.predicted
    means = np.stack([features[0][predicted[0] == label].mean(0) for label in range(CLASSES)])
    clean, batched = (values - means[classes] for values, classes in zip(features, predicted, strict=True))
    # The covariance is that of clean images: give a discriminant a second group that is the first one, moved.
    rest = others & ~chosen
    ordinary = (batched[rest].sum(0) + clean.sum(0)) / (rest.sum() + len(clean))
    as_high = known.combined[scored] > limit
    explained = (1 - direction.purity) * (clean[as_high].mean(0) - ordinary)
    shift = batched[chosen].mean(0) - ordinary - explained
    both = np.concatenate([clean - clean.mean(0), clean - clean.mean(0) + shift])
    which = np.repeat([0, 1], len(clean))
    expected = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(both, which).coef_[0]
    cosine = direction.weights @ expected / np.linalg.norm(direction.weights) / np.linalg.norm(expected)
    assert cosine == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("part", range(5))
def test_inputs_have_no_say_in_the_direction_of_their_own_part(part: int) -> None:
    known, kept, inputs = batch(part, raised=40)
    learned = learn_directions(known, kept, inputs)
    own = inputs.parts == part
    changed = replace(
        inputs,
        features=np.where(own[:, None], 3 - inputs.features, inputs.features),
        combined=inputs.combined + 7 * own[:, None],
        predicted=np.where(own, 0, inputs.predicted),
    )
    again = learn_directions(known, kept, changed)
    assert all(same(*pair) for pair in zip(learned.directions[part], again.directions[part], strict=True))
    assert not same(learned.directions[(part + 1) % 5][0], again.directions[(part + 1) % 5][0])


def test_clean_images_have_no_say_in_the_direction_of_their_own_fold() -> None:
    known, kept, inputs = batch(1, raised=40)
    learned = learn_directions(known, kept, inputs)
    own = known.folds == 3
    features = np.where(own[:, None], 9 - kept.features, kept.features).astype(np.float16)
    changed = replace(kept, features=features, predicted=np.where(own, 0, kept.predicted))
    again = learn_directions(replace(known, combined=known.combined + 5 * own), changed, inputs)
    for part in range(5):
        assert same(learned.directions[part][3], again.directions[part][3])
        assert not same(learned.directions[part][0], again.directions[part][0])


def same(one: Direction | None, other: Direction | None) -> bool:
    if one is None or other is None:
        return one is other
    return (
        one.purity == other.purity
        and np.array_equal(one.weights, other.weights)
        and np.array_equal(one.centres, other.centres)
        and np.array_equal(one.surprise.clean, other.surprise.clean)
    )


def score(learned: LearnedDirections, inputs: Suspects) -> np.ndarray:
    return learned.score(inputs.features, inputs.predicted, inputs.parts)


def test_scores_of_shards_are_those_of_the_batch() -> None:
    known, kept, inputs = batch(2, raised=40)
    learned = learn_directions(known, kept, inputs)
    scores = score(learned, inputs)
    assert scores.max() > 1
    for size in (1, 3, 17):
        rows = [slice(k, k + size) for k in range(0, len(scores), size)]
        shards = [learned.score(inputs.features[r], inputs.predicted[r], inputs.parts[r]) for r in rows]
        assert np.array_equal(np.concatenate(shards), scores)


def test_clean_images_and_inputs_are_treated_alike() -> None:
    """An input with the features of a clean image gets what that image gets, by every part and its fold."""
    known, kept, inputs = batch(3, raised=40)
    learned = learn_directions(known, kept, inputs)
    of_clean = learned.clean_scores(kept, known.folds)
    rows = np.arange(len(known.folds))
    for part in range(5):
        as_inputs = learned.score(kept.features, kept.predicted, np.full(len(rows), part))
        assert np.array_equal(as_inputs[rows, known.folds], of_clean[:, part])


def p_values(known: CleanScores, kept: CleanFeatures, inputs: Suspects) -> np.ndarray:
    learned = learn_directions(known, kept, inputs)
    calibrates = known.folds >= 0
    nats = Surprise(np.sort(known.combined[calibrates]))
    clean = (nats(known.combined)[:, None] + learned.clean_scores(kept, known.folds))[calibrates]
    return joint_p_values(clean, known.folds[calibrates], nats(inputs.combined) + score(learned, inputs), inputs.parts)


@pytest.mark.parametrize(("folds", "raised"), [(5, 0), (5, 30), (1, 0), (1, 30)])
def test_inputs_like_clean_images_are_flagged_at_alpha(folds: int, raised: int) -> None:
    p = np.array([p_values(*batch(seed, 200, 60 + raised, folds, raised))[raised:] for seed in range(400)])
    for alpha in (0.01, 0.05):
        assert stats.binom.sf((p[:, 0] <= alpha).sum() - 1, len(p), alpha) > 1e-3
        rates = (p <= alpha).mean(1)
        error = rates.std(ddof=1) / np.sqrt(len(rates))
        assert rates.mean() < alpha + 3 * error
        assert rates.mean() > alpha / 2, "so conservative that it would miss triggers"


def test_with_more_features_than_images_too_clean_inputs_are_flagged_at_alpha() -> None:
    """Clean images that shrink the covariance in a direction go less far in it; those of other folds do not."""
    rates, found = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        spread = rng.gamma(0.5, size=300)
        values, others = rng.normal(size=(100, 300)) * spread, rng.normal(size=(90, 300)) * spread
        shift = rng.normal(size=300) * spread
        others[:30] += shift
        kept = fit_clean_features([values.astype(np.float32)], np.zeros(100, int), 1)
        known = CleanScores(rng.normal(size=100), np.ones(100, bool), np.arange(100) % 5)
        combined = np.repeat(rng.normal(size=(90, 1)) + 2.0 * (np.arange(90) < 30)[:, None], 5, axis=1)
        inputs = Suspects(
            combined, kept.standardised(others.astype(np.float32)), np.zeros(90, int), rng.permutation(90) % 5
        )
        p = p_values(known, kept, inputs)
        rates.append((p[30:] <= 0.05).mean())
        found.append((p[:30] <= 0.05).mean())
    assert np.mean(rates) < 0.05 + 3 * np.std(rates, ddof=1) / np.sqrt(len(rates))
    assert np.mean(found) > 0.7


def test_a_direction_finds_more_than_scores_do() -> None:
    found = []
    for seed in range(20):
        known, kept, inputs = batch(seed, 300, 200, 5, 60)
        nats = Surprise(np.sort(known.combined))
        clean = np.repeat(nats(known.combined)[:, None], 5, axis=1)
        alone = joint_p_values(clean, known.folds, nats(inputs.combined), inputs.parts)
        found.append([(p[:60] <= 0.01).mean() for p in (alone, p_values(known, kept, inputs))])
    alone, together = np.mean(found, axis=0)
    assert together > alone + 0.2


def test_what_all_inputs_have_in_common_counts_less_the_more_inputs_there_are() -> None:
    """Inputs that are not suspects take out of the direction what suspects share with them: here a drift of all."""
    ratios = {}
    for rest in (20, 2000):
        found = []
        for seed in range(10):
            known, kept, inputs = batch(seed, 100, 200 + rest, 5, 200)
            drifted = inputs.features.copy()
            drifted[:, 1] += np.float16(3)
            combined = np.where(np.arange(200 + rest)[:, None] < 200, 99.0, -99.0) * np.ones((1, 5))
            moved = replace(inputs, features=drifted, combined=combined)
            directions = [one for by_fold in learn_directions(known, kept, moved).directions for one in by_fold if one]
            weights = np.mean([one.weights for one in directions], axis=0)
            found.append(3 * weights[1] / (weights[RAISED] * 6 / kept.scale[RAISED]))
        ratios[rest] = np.mean(found)
    assert ratios[20] > 0.6, "suspects are all there is, so the drift is theirs"
    assert abs(ratios[2000]) < 0.25 * ratios[20]


def test_few_suspects_say_nothing() -> None:
    known, kept, inputs = batch(4)
    learned = learn_directions(known, kept, replace(inputs, combined=np.full(inputs.combined.shape, -9.0)))
    assert not learned.purities.any()
    assert not score(learned, inputs).any()
    assert not np.nan_to_num(learned.clean_scores(kept, known.folds)).any()


def test_without_other_clean_images_nothing_is_learned() -> None:
    known, kept, inputs = batch(5, folds=1)
    alone = replace(known, folds=np.zeros(len(known.folds), np.int64))
    assert learn_directions(alone, kept, inputs).directions[0] == (None,)


def test_an_input_of_no_class_is_compared_with_all_classes() -> None:
    known, kept, inputs = batch(6, raised=40)
    learned = learn_directions(known, kept, replace(inputs, predicted=np.full(len(inputs.parts), -1)))
    assert np.isfinite(learned.score(inputs.features, np.full(len(inputs.parts), -1), inputs.parts)).all()


@pytest.mark.parametrize("classes", [2, 10])
def test_scores_are_kept_of_images_that_no_density_saw(classes: int) -> None:
    for count in (100, 2000):
        plan = plan_calibration(np.arange(count) % classes, seed=0)
        scores = np.random.default_rng(0).random((len(plan.unseen()), 3)) + 1
        calibration = calibrate_by_plan(scores, np.zeros(3), plan, 1.0, np.array([True, False, True]))
        known = clean_scores(plan, calibration, scores)
        assert np.array_equal(np.flatnonzero(known.scored), np.sort(plan.unseen()))
        fold_values = [np.sort(known.combined[known.folds == fold]) for fold in range(calibration.num_folds)]
        assert np.array_equal(np.concatenate(fold_values), calibration.combined)
        assert (known.folds[~known.scored] == -1).all()


def test_what_does_not_fit_together_is_refused() -> None:
    known, kept, inputs = batch(7)
    with pytest.raises(ValueError, match="combined scores"):
        learn_directions(known, kept, replace(inputs, combined=inputs.combined[:, :4]))
    with pytest.raises(ValueError, match="features"):
        learn_directions(known, kept, replace(inputs, features=inputs.features[:, :3]))
    with pytest.raises(ValueError, match="two parts"):
        learn_directions(known, kept, replace(inputs, parts=np.zeros(len(inputs.parts), int)))
    with pytest.raises(ValueError, match="120 images"):
        learn_directions(known.take(np.arange(100)), kept, inputs)
    with pytest.raises(ValueError, match="a part of each input"):
        replace(inputs, parts=inputs.parts[1:])
    with pytest.raises(ValueError, match="finite"):
        replace(known, combined=np.full(len(known.combined), np.nan))
    with pytest.raises(ValueError, match="that calibrate"):
        replace(known, scored=np.zeros(len(known.scored), bool))
    with pytest.raises(ValueError, match="are needed, got"):
        replace(known, combined=known.combined[1:])
