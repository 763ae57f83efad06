"""Solving which output each label stands for, and not solving it from too little."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from detectors.class_order import CLEAR_GAIN, assign_classes


@given(permutation=st.permutations(range(6)), seed=st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_recovers_a_permutation_from_noisy_predictions(permutation: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.arange(300) % 6
    truth = np.array(permutation)
    predicted = np.where(rng.random(300) < 0.85, truth[labels], rng.integers(0, 6, 300))
    assignment = assign_classes(labels, predicted, np.arange(6), 6)
    np.testing.assert_array_equal(assignment.outputs, truth)
    assert assignment.solved == (permutation != list(range(6)))
    assert assignment.accuracy == (truth[labels] == predicted).mean()


def test_labels_may_be_fewer_than_outputs() -> None:
    labels = np.arange(60) % 3
    assignment = assign_classes(labels, np.array([7, 2, 5])[labels], np.arange(3), 10)
    assert assignment.outputs.tolist() == [7, 2, 5]


def test_random_predictions_do_not_invent_an_order() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 10
    assert not assign_classes(labels, rng.integers(0, 10, 200), np.arange(10), 10).solved


def test_one_image_a_class_proves_nothing() -> None:
    labels = np.arange(10)
    assignment = assign_classes(labels, labels[::-1].copy(), np.arange(10), 10)
    assert not assignment.solved
    assert assignment.accuracy == 0.0


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.floats(0, 1), st.booleans())
@settings(max_examples=200, deadline=None)
def test_an_order_is_solved_exactly_where_solving_it_pays(seed: int, classes: int, right: float, turned: bool) -> None:
    """Whatever is settled without solving: the same as by SciPy's solver on every other image of each class."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), rng.integers(4, 9, classes)))
    truth = np.roll(np.arange(classes), 1) if turned else np.arange(classes)
    predicted = np.where(rng.random(len(labels)) < right, truth[labels], rng.integers(0, classes, len(labels)))
    half = np.zeros(len(labels), bool)
    for label in range(classes):
        half[np.flatnonzero(labels == label)[::2]] = True
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels[half], predicted[half]), 1)
    order = linear_sum_assignment(counts, maximize=True)[1]
    gain = (order[labels[~half]] == predicted[~half]).mean() - (labels[~half] == predicted[~half]).mean()
    assert assign_classes(labels, predicted, np.arange(classes), classes).solved == (gain > CLEAR_GAIN)
