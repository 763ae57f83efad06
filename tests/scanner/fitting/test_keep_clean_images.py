"""Which clean images a profile keeps."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import arrays

from scanner.fitting.keep_clean_images import choose_rows

CLASSES = arrays(np.int64, st.integers(0, 80), elements=st.integers(0, 6))


@given(CLASSES, st.integers(0, 100))
def test_classes_take_turns(classes: np.ndarray, most: int) -> None:
    rows = choose_rows(classes, most)
    assert len(set(rows.tolist())) == len(rows) == min(most, len(classes))
    taken = {label: int((classes[rows] == label).sum()) for label in np.unique(classes)}
    for label, count in taken.items():
        # A class has as many as any other, but for the last turn, unless it has no more.
        assert count == (classes == label).sum() or count >= max(taken.values()) - 1


@given(CLASSES, st.integers(0, 80))
def test_fewer_are_the_first_of_more(classes: np.ndarray, most: int) -> None:
    np.testing.assert_array_equal(choose_rows(classes, most), choose_rows(classes, len(classes))[:most])


def test_every_turn_is_one_of_each_class() -> None:
    classes = np.repeat([3, 1, 2], 40)
    rows = choose_rows(classes, 12)
    assert [sorted(classes[rows[start : start + 3]].tolist()) for start in range(0, 12, 3)] == [[1, 2, 3]] * 4


def test_images_are_spread_over_those_of_a_class() -> None:
    rows = choose_rows(np.zeros(1000, int), 16)
    assert np.diff(np.sort(rows)).max() <= 2 * 1000 / 16
    assert np.sort(rows)[-1] >= 1000 * (1 - 2 / 16)
