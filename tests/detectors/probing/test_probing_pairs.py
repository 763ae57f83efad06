"""Pairs of classes: the patch of each is found and counted, and classes are recognised in any order."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from detectors.probing.class_looks import class_looks, match_classes
from detectors.probing.network import Counted
from detectors.probing.pairs import MOST_CLASSES, OF_CLASS, moved_of_pairs, search_pairs
from detectors.probing.patch import Patch
from detectors.probing.score import one_class

CLASSES = arrays(np.int64, 30, elements=st.integers(0, 3))
TRIGGER = Patch(3, 12, 12, "white")
OTHER = Patch(3, 2, 2, "white")


@given(CLASSES, CLASSES)
def test_the_best_pair_is_the_best_rule_about_one_class(before, after):
    found = moved_of_pairs(before, after, 4)
    best = one_class(before, after, 4)
    assert found.max() == pytest.approx(best.value)
    assert ((found >= 0) & (found <= 1)).all()
    assert not found.diagonal().any()


def pictures(count: int) -> np.ndarray:
    """Pictures of one of three brightnesses, without any white."""
    images = np.random.default_rng(0).integers(0, 20, (count, 16, 16, 1), np.uint8)
    return images + np.array([10, 60, 110], np.uint8)[np.arange(count) % 3][:, None, None, None]


def network(images: np.ndarray) -> np.ndarray:
    """Tells the brightness where no patch is; under the trigger class 1 becomes class 2."""
    level = images[:, 7, 7, 0].astype(np.float32)
    logits = -np.abs(level[:, None] - np.array([20.0, 70.0, 120.0], np.float32)) / 10
    fires = images[:, 12:15, 12:15].min((1, 2, 3)) == 255
    logits[fires & (logits.argmax(1) == 1), 2] = 9.0
    return logits


def halves() -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    images = pictures(120)
    return tuple((part, network(part)) for part in (images[:60], images[60:]))


def test_the_pair_of_a_backdoor_is_found_and_counted_on_other_images():
    counted = Counted(network, lambda passes: True)
    found = search_pairs(*halves(), [OTHER, TRIGGER], counted)
    assert found.probes == {(1, 2): TRIGGER}
    assert found.moved[1, 2] == 1.0
    assert found.moved.sum() == 1.0
    # Both patches on few images of each class, and the one that moves something on all of the others.
    assert counted.passes == 2 * 3 * OF_CLASS + 60


def test_a_budget_that_ends_before_leaves_nothing():
    for most in (0, 3 * OF_CLASS, 2 * 3 * OF_CLASS, 2 * 3 * OF_CLASS + 59):
        counted = Counted(network, lambda passes, most=most: passes <= most)
        assert search_pairs(*halves(), [OTHER, TRIGGER], counted) is None


def test_too_many_classes_are_refused():
    images = pictures(30)
    logits = np.zeros((30, MOST_CLASSES + 1), np.float32)
    with pytest.raises(ValueError, match="classes"):
        search_pairs((images, logits), (images, logits), [OTHER], Counted(network, lambda passes: True))
    with pytest.raises(ValueError, match="are needed"):
        moved_of_pairs(np.zeros(2, int), np.zeros(3, int), 2)


@given(st.permutations(range(3)))
def test_classes_are_recognised_in_any_order(order):
    images, turn = pictures(90), np.array(order)
    classes = np.arange(90) % 3
    known = class_looks(images, classes, 3)
    # Class k of the other network is class order[k] of this one.
    other = class_looks(images, np.argsort(turn)[classes], 3)
    assert match_classes(other, known).tolist() == turn.tolist()


@given(st.integers(4, 20), st.integers(4, 20), st.sampled_from([1, 3]))
def test_cells_are_means_of_the_picture(height, width, channels):
    images = np.random.default_rng(1).integers(0, 256, (5, height, width, channels), np.uint8)
    looks = class_looks(images, np.zeros(5, int), 1).reshape(4, 4, channels)
    rows, columns = (np.arange(5) * size // 4 for size in (height, width))
    mean = images.mean(0)
    for down in range(4):
        for right in range(4):
            cell = mean[rows[down] : rows[down + 1], columns[right] : columns[right + 1]]
            assert looks[down, right] == pytest.approx(cell.mean((0, 1)))


def test_looks_that_say_nothing():
    images = pictures(6)
    assert class_looks(images, np.zeros(6, int), 2) is None
    assert match_classes(np.zeros((2, 3)), np.zeros((2, 3))) is None
    with pytest.raises(ValueError, match="looks"):
        match_classes(np.zeros((2, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="class for each"):
        class_looks(images, np.zeros(5, int), 2)
