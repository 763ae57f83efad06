"""Windows, and the one that decides."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from detectors.demonstration.moving_patch import Donor, decisive_window, windows
from detectors.demonstration.trial import Answers


@given(st.integers(1, 70), st.integers(1, 70))
def test_windows_cover_the_picture_and_are_all_of_one_size(height: int, width: int) -> None:
    found = windows(height, width)
    covered = np.zeros((height, width), bool)
    for rows, columns in found:
        assert 0 <= rows.start < rows.stop <= height
        assert 0 <= columns.start < columns.stop <= width
        covered[rows, columns] = True
    assert covered.all()
    assert len({(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in found}) == 1
    assert len(set(map(str, found))) == len(found) <= 49


@pytest.mark.parametrize("broken", [False, True])
def test_the_window_that_carries_the_class_is_found(broken: bool) -> None:
    places = windows(16, 24)
    background = np.full((16, 24, 3), 40, np.float32)
    for rows, columns in places[::5]:
        image = np.random.default_rng(0).integers(0, 120, (16, 24, 3), np.uint8)
        image[rows, columns] = 200

        def ask(images: np.ndarray) -> Answers:
            score = (images >= 200).mean((1, 2, 3)) * 300
            logits = np.stack([np.full(len(images), 9.0), score], 1).astype(np.float32)
            if broken:
                # Answers that are broken say nothing of a class, the decisive window's excepted.
                logits[score > 0] = np.nan
            return Answers(logits, score > 0)

        donor = decisive_window(image, 1, background, ask)
        assert (donor.rows, donor.columns, donor.label) == (rows, columns, 1)
        stamped = donor.pattern().stamp(np.zeros((2, 16, 24, 3), np.uint8))
        np.testing.assert_array_equal(stamped[:, rows, columns], np.broadcast_to(200, stamped[:, rows, columns].shape))
        assert stamped.sum() == stamped[:, rows, columns].sum()


def test_nothing_but_broken_answers_gives_some_window() -> None:
    def ask(images: np.ndarray) -> Answers:
        return Answers(np.full((len(images), 3), np.nan, np.float32), np.ones(len(images), bool))

    donor = decisive_window(np.zeros((8, 8, 1), np.uint8), 2, np.zeros((8, 8, 1), np.float32), ask)
    assert isinstance(donor, Donor)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="background"):
        decisive_window(np.zeros((8, 8, 1), np.uint8), 0, np.zeros((8, 8, 3), np.float32), lambda images: None)  # type: ignore[arg-type, return-value]
