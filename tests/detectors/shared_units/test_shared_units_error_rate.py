"""False alarms on clean data, over many references and batches."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from unit_samples import assert_superuniform, rectified

from detectors.shared_units.batch import shared_units_test
from detectors.shared_units.combine import Surprise, joint_p_values
from detectors.shared_units.learn import learn_units
from detectors.shared_units.reference import fit_units
from detectors.shared_units.similar_images import fit_strata


def joint(rng: np.random.Generator, clean: int, inputs: int, units: int, awake: int = 0) -> np.ndarray:
    """P-values of a clean batch against a reference, or of the inputs without a trigger in a batch with `awake`."""
    images, values = rectified(rng, clean, units), rectified(rng, inputs, units)
    values[:awake, 0] += 40
    folds, parts, none = rng.permutation(np.arange(clean) % 5), rng.integers(0, 5, inputs), np.zeros(inputs, int)
    reference = fit_units(images, np.zeros(clean, int), folds)
    learned = learn_units(reference, values, none, parts)
    densities, theirs = rng.standard_t(4, clean), rng.standard_t(4, inputs)
    nats = Surprise(np.sort(densities))
    by_units, by_fold = learned.clean_scores(reference), learned.score(values, parts)
    p = joint_p_values(by_units + nats(densities)[:, None], folds, by_fold + nats(theirs)[:, None], parts)
    return p[awake:]


def check(p: np.ndarray) -> None:
    """One input of each batch by the exact binomial test, and the mean of batches by its standard error."""
    for alpha in (0.01, 0.05):
        assert stats.binom.sf((p[:, 0] <= alpha).sum() - 1, len(p), alpha) > 1e-3
        rates = (p <= alpha).mean(1)
        error = rates.std(ddof=1) / np.sqrt(len(rates))
        assert rates.mean() < alpha + 3 * error
        assert rates.mean() > alpha / 2, "so conservative that it would miss triggers"


@pytest.mark.parametrize("awake", [0, 6])
def test_inputs_without_a_trigger_are_flagged_at_alpha(awake: int) -> None:
    rng = np.random.default_rng(awake)
    check(np.array([joint(rng, 199, 36 + awake, 24, awake) for _ in range(500)]))


@pytest.mark.slow
@pytest.mark.parametrize(("clean", "inputs", "units"), [(250, 250, 300), (100, 500, 64)])
def test_larger_batches_are_flagged_at_alpha(clean: int, inputs: int, units: int) -> None:
    rng = np.random.default_rng(clean)
    check(np.array([joint(rng, clean, inputs, units) for _ in range(1000)]))


CLASSES, UNITS = 12, 24
LOUDNESS = np.random.default_rng(11).normal(size=(CLASSES, UNITS)) * 4


def of_classes(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Every class has units of its own that are loud."""
    return np.maximum(rectified(rng, len(labels), UNITS) + LOUDNESS[labels], 0).astype(np.float32)


def batch_p_value(
    rng: np.random.Generator, classes: tuple[np.ndarray, np.ndarray], columns: tuple[int, int] | None
) -> float:
    """P-value of a batch of the second classes against clean images of the first, with strata or without."""
    clean, inputs = (of_classes(rng, labels) for labels in classes)
    strata = [np.zeros(len(labels), int) for labels in classes]
    if columns is not None:
        fitted = fit_strata(clean[:, slice(*columns)], classes[0], CLASSES, columns[0])
        strata = [fitted.of(labels, values) for labels, values in zip(classes, (clean, inputs), strict=True)]
    return shared_units_test(fit_units(clean, strata[0], np.zeros(len(clean), int)), inputs, strata[1]).p_value


def test_a_batch_of_a_class_with_many_clean_images_is_not_taken_for_a_trigger() -> None:
    rng = np.random.default_rng(0)
    batches = [(rng.permutation(np.arange(240) % CLASSES), np.full(60, 3)) for _ in range(120)]
    assert_superuniform(np.array([batch_p_value(rng, classes, (12, 24)) for classes in batches]))
    without = np.array([batch_p_value(rng, classes, None) for classes in batches[:6]])
    assert (without < 0.01).mean() > 0.8, "the classes are too much alike for strata to matter"


def test_batches_like_the_reference_are_rejected_at_alpha() -> None:
    """Long-tailed classes, of which half have no stratum of their own, and clusters fitted to the clean images."""
    rng = np.random.default_rng(1)
    share = 1 / np.arange(1, CLASSES + 1) ** 1.5
    p = []
    for _ in range(250):
        classes = tuple(rng.choice(CLASSES, count, p=share / share.sum()) for count in (80, 60))
        p.append(batch_p_value(rng, classes, (12, 24)))
    assert_superuniform(np.array(p))
    assert np.mean(np.array(p) <= 0.25) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("clean", "inputs"), [(10, 40), (160, 1000), (100, 10), (300, 1)])
def test_no_size_of_reference_or_batch_is_rejected_more_often(clean: int, inputs: int) -> None:
    """160 images: what is kept is least deep compared with what is looked at."""
    rng = np.random.default_rng(clean)
    p = []
    for _ in range(1500):
        reference = fit_units(rectified(rng, clean, 16), np.zeros(clean, int), np.zeros(clean, int))
        p.append(shared_units_test(reference, rectified(rng, inputs, 16), np.zeros(inputs, int)).p_value)
    assert_superuniform(np.array(p))
