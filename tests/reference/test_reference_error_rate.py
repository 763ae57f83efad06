"""The measurement of false alarms: its cells, its intervals, and what it shows on the smallest cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import betabinom

from reference.error_rate import Cell, cells, interval, judge_clean, measure, measure_batches, summary, table

SMALL = Cell(100, 256, 1, True)


def test_every_size_and_label_set_has_a_cell() -> None:
    found = list(cells())
    assert len({cell.key for cell in found}) == len(found) == 6 * 5 * 5 + 5 * 5 * 2
    assert all(cell.classes <= cell.images for cell in found)


def test_the_interval_is_that_of_repeated_draws() -> None:
    """Against simulation: the sum of beta-binomial counts lies outside about as often as it may."""
    low, high = interval(199, 0.05, draws=5, inputs=100, level=0.9)
    sums = betabinom.rvs(100, 10, 190, size=(20_000, 5), random_state=0).sum(1)
    outside = ((sums < low) | (sums > high)).mean()
    assert 0.06 < outside < 0.1
    assert interval(50, 0.01, draws=5, inputs=100) == (0, 0)


def test_a_draw_is_repeatable_and_differs_from_the_next() -> None:
    first, again, other = (judge_clean(SMALL, "cross-conformal", seed, 50)[1].p_values for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_more_channels_than_images_break_the_former_scheme_alone() -> None:
    now = measure(Cell(100, 512, 1, True), "cross-conformal", 4)["0.05"]
    before = measure(Cell(100, 512, 1, True), "all images", 2)["0.05"]
    assert now["interval"][0] <= now["combined"] <= now["interval"][1]
    assert before["combined"] > 0.9


def test_batches_are_counted() -> None:
    found = measure_batches(Cell(100, 64, 1, True), 20)
    assert found["high"] == 0
    assert found["upper_95"] == pytest.approx(1 - 0.05 ** (1 / 21), abs=0.02)


def test_table_and_summary() -> None:
    def cell(scheme: str, rate: float) -> dict[str, object]:
        at = {"combined": rate, "scores": [0.0, rate], "interval": [0.005, 0.015]}
        return {"scheme": scheme, "images": 100, "channels": 64, "0.01": at}

    result = {"cells": {"a": cell("all images", 0.5), "b": cell("cross-conformal", 0.01)}}
    assert table(result)[1] == (
        "| 100 (at 0.01) | 0.500 to 0.500 -> 0.010 to 0.010 | - -> - | - -> - | - -> - | - -> - |"
    )
    assert summary(result) == {
        "combined": {"below": 0, "inside": 1, "above": 0},
        "scores": {"below": 1, "inside": 1, "above": 0},
    }
