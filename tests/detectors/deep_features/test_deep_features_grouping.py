"""Laws of the groups of classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from detectors.calibration.plan import FOLDS
from detectors.deep_features.grouping import MIN_CLASS_IMAGES, NO_GROUP, UNLIKE, group_classes

COUNTS = st.lists(st.integers(0, 12), min_size=1, max_size=30).filter(any)


@given(COUNTS, st.integers(1, 8))
def test_laws(counts: list[int], minimum: int) -> None:
    groups = group_classes(np.array(counts), minimum)
    enough = [index for index, count in enumerate(counts) if count >= minimum]
    if 2 * sum(counts[index] for index in enough) < sum(counts):
        enough = []  # too few images are of such classes
    few = any(count > 0 for index, count in enumerate(counts) if index not in enough)
    # Each class with enough images has a group, in the order of the classes, and nobody else is in it.
    assert groups.of_class[enough].tolist() == list(range(len(enough)))
    assert groups.own.tolist() == [index in enough for index in range(len(counts))]
    rest = [group for index, group in enumerate(groups.of_class.tolist()) if index not in enough]
    # The others are in one group with each other, if it has an image to be fitted on.
    assert groups.shared == (len(enough) if few else None)
    assert set(rest) <= {groups.shared if few else NO_GROUP}
    assert groups.count == len(enough) + few
    # Every group has an image.
    assert {groups.of_class[index] for index, count in enumerate(counts) if count} == set(range(groups.count))


@given(COUNTS)
def test_a_class_of_its_own_is_in_every_fold(counts: list[int]) -> None:
    """Otherwise images would be scored by densities that lack their class, and inputs by densities that have it."""
    from detectors.calibration.folds import stratified_folds

    assume(sum(counts) >= FOLDS)
    classes = np.repeat(np.arange(len(counts)), counts)
    folds = stratified_folds(classes, FOLDS, 0)
    own = group_classes(np.array(counts)).own
    for label in np.flatnonzero(own):
        assert set(folds[classes == label]) == set(range(FOLDS))


def test_the_least_is_one_image_a_fold() -> None:
    assert MIN_CLASS_IMAGES == FOLDS
    assert np.float16(UNLIKE) == UNLIKE


@pytest.mark.parametrize("counts", [[], [0, 0], [[3]]])
def test_no_image_no_group(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="at least one class"):
        group_classes(np.array(counts, np.int64))
