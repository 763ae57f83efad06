"""No more inputs of a class than clean images of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from detectors.shared_units.class_balance import LEFT_OUT, balance_classes
from detectors.shared_units.clean_scores import CleanScores
from detectors.shared_units.detector import SharedUnits
from detectors.shared_units.similar_images import fit_shared_units

IMAGES = arrays.arrays(np.int64, st.tuples(st.just(2), st.integers(0, 12)), elements=st.integers(0, 3))


@given(clean=IMAGES, inputs=IMAGES)
def test_counts_are_those_of_the_reference(clean: np.ndarray, inputs: np.ndarray) -> None:
    strata = balance_classes((clean[0], clean[1]), (inputs[0], inputs[1]))
    kept = strata != LEFT_OUT
    assert (strata[kept] == inputs[0][kept]).all()
    for label in range(4):
        of = inputs[1] == label
        if label not in clean[1]:
            assert kept[of].sum() == min(1, of.sum())
            continue
        for stratum in range(4):
            there = clean[1][clean[0] == stratum]
            among = kept[of & (inputs[0] == stratum)]
            alone = set(there.tolist()) == {label}
            assert among.sum() == (len(among) if alone else min(len(among), (there == label).sum()))
            assert (np.sort(~among) == ~among).all()  # the first ones count


def test_what_does_not_fit_is_refused() -> None:
    one, two = np.zeros(1, int), np.zeros(2, int)
    for clean, inputs in (((one, two), (one, one)), ((one, one), (two, one))):
        with pytest.raises(ValueError, match="of each image are needed"):
            balance_classes(clean, inputs)


CENTRES = 2 * np.random.default_rng(9).standard_normal((40, 6))


def _images(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """A late layer that tells classes apart to some degree, and units of which three belong to each class."""
    late = np.maximum(rng.standard_normal((len(labels), 120)), 0)
    for unit in range(3):
        late[np.arange(len(labels)), 3 * labels + unit] += 6
    return np.concatenate([CENTRES[labels] + rng.standard_normal((len(labels), 6)), late], axis=1).astype(np.float32)


def _fitted(rng: np.random.Generator) -> SharedUnits:
    """Forty classes of two or three clean images."""
    labels = np.arange(100) % 40
    values = _images(rng, labels)
    features = {"likened": values[:, :6], "late": values[:, 6:]}
    scores = CleanScores(np.zeros(100), np.ones(100, bool), np.arange(100) % 5)
    return fit_shared_units(features, "likened", labels, 40, scores)


def test_a_clean_batch_of_a_rare_class_is_no_evidence() -> None:
    """Its units are loud in all inputs and in few clean images; a test of all inputs takes that for more."""
    rng = np.random.default_rng(0)
    balanced, every, counted = [], [], []
    for label in range(30):
        labels = np.full(60, label)
        tests = _fitted(rng).test(_images(rng, labels), labels)
        balanced.append(tests.balanced.p_value)
        every.append(tests.every.p_value)
        counted.append(tests.count(densities_p=1.0))
    assert (np.array(every) <= 0.01).mean() > 0.7  # what this is for
    assert np.mean(counted) <= 0.1
    assert (np.array(balanced) <= 0.05).mean() <= 0.15


def test_a_trigger_in_inputs_of_all_classes_is_seen_all_the_same() -> None:
    rng = np.random.default_rng(1)
    labels = np.arange(100) % 40
    values = _images(rng, labels)
    values[:50, -1] += 8
    tests = _fitted(rng).test(values, labels)
    assert tests.balanced.p_value <= 1e-3
    assert tests.count(densities_p=1.0)


def test_densities_let_units_of_a_rare_target_count() -> None:
    """All triggered inputs are predicted as one class: units alone do not tell that from a batch of the class."""
    rng = np.random.default_rng(2)
    labels = np.where(np.arange(100) < 60, 7, np.arange(100) % 40)
    values = _images(rng, labels)
    values[:60, -1] += 8
    tests = _fitted(rng).test(values, labels)
    assert tests.every.p_value <= 1e-3
    assert tests.count(densities_p=1e-4)
