"""Where in the picture units are loudest."""

from __future__ import annotations

import numpy as np
import pytest

from scanner.scanning.locate import commonest


def maps(places: list[tuple[int, int]], size: int = 16) -> np.ndarray:
    """Maps of noise, each loudest at its place."""
    result = np.random.default_rng(0).random((len(places), size, size), np.float32)
    for index, (row, column) in enumerate(places):
        result[index, row, column] = 5
    return result


def test_the_place_that_most_share_is_found() -> None:
    place = commonest(maps([(3, 12)] * 7 + [(10, 1), (0, 0), (15, 5)]))
    assert (place.inputs, place.looked_at) == (7, 10)
    assert place.row == pytest.approx(3.5 / 16)
    assert place.column == pytest.approx(12.5 / 16)


def test_neighbours_count_as_the_same_place() -> None:
    place = commonest(maps([(3, 12), (4, 12), (3, 11), (2, 13), (10, 1)]))
    assert place.inputs == 4


def test_places_that_do_not_agree_are_few() -> None:
    scattered = [(row, column) for row in range(0, 16, 4) for column in range(0, 16, 4)]
    assert commonest(maps(scattered)).inputs == 1


@pytest.mark.parametrize("size", [1, 2, 7, 112])
def test_a_place_lies_in_the_picture_at_any_resolution(size: int) -> None:
    place = commonest(maps([(size - 1, 0)] * 3, size))
    assert place.inputs == 3
    assert 0 < place.column <= place.row < 1 or size == 1
