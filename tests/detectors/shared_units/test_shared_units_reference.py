"""What is kept of clean images, against sorting all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from unit_samples import rectified

from detectors.shared_units.likelihood_ratio import rank, top_of
from detectors.shared_units.reference import fit_units


def zeros(count: int) -> np.ndarray:
    return np.zeros(count, np.int64)


def kept_of(count: int) -> int:
    """15% of the images, at least 24 and at most 128 of them, as documented."""
    return min(count, 128, max(24, -(-15 * count // 100)))


@pytest.mark.parametrize(
    ("count", "units"), [(1, 3), (10, 64), (24, 64), (25, 64), (160, 64), (161, 2048), (1000, 64), (5000, 256)]
)
def test_the_loudest_values_of_each_unit_are_kept(count: int, units: int) -> None:
    values = rectified(np.random.default_rng(count), count, units, loudness=4.0)
    reference = fit_units(values, zeros(count), zeros(count))
    kept = kept_of(count)
    assert reference.values.shape == reference.images.shape == (kept, units)
    assert (reference.size, reference.units) == (count, units)
    descending = -np.sort(-values, axis=0)
    cut = descending[kept] if kept < count else np.full(units, -np.inf)
    assert (reference.cut == cut).all()
    assert (reference.values == np.where(descending[:kept] > cut, descending[:kept], -np.inf)).all()
    audible = np.isfinite(reference.values)
    own = np.take_along_axis(values, reference.images.astype(int), 0)
    assert (reference.values[audible] == own[audible]).all()
    assert (reference.table == np.where(values > cut, values, -np.inf)).all()


def test_of_equal_values_the_first_images_are_kept_however_many_there_are() -> None:
    values = np.random.default_rng(0).integers(0, 9, (9000, 5)).astype(np.float32)
    values[8000, 0] = 9
    reference = fit_units(values, zeros(9000), zeros(9000))
    order = np.argsort(-values, axis=0, kind="stable")[: kept_of(9000)]
    audible = np.isfinite(reference.values)
    assert audible[0, 0]
    assert (reference.images[audible] == order[audible]).all()


def test_a_unit_of_many_zeros_is_cut_at_zero() -> None:
    values = np.zeros((200, 3), np.float32)
    values[7:12, 1] = [1, 5, 2, 4, 3]
    values[:40, 2] = np.arange(1, 41)
    reference = fit_units(values, zeros(200), zeros(200))
    assert reference.cut.tolist() == [0, 0, 10]
    assert not np.isfinite(reference.values[:, 0]).any()
    assert reference.values[:6, 1].tolist() == [5, 4, 3, 2, 1, -np.inf]
    assert reference.images[:5, 1].tolist() == [8, 10, 11, 9, 7]
    assert reference.values[:, 2].tolist() == list(range(40, 10, -1))
    loud = reference.loud(np.array([[0.0, 0.5, 10.0], [-1.0, 0.0, 10.5]], np.float32))
    assert loud.tolist() == [[-np.inf, 0.5, -np.inf], [-np.inf, -np.inf, 10.5]]


@pytest.mark.parametrize("count", [3, 10, 40, 200])
def test_levels_are_the_loudest_of_the_other_folds_and_the_floor_the_lowest_of_them(count: int) -> None:
    rng = np.random.default_rng(count)
    values = rectified(rng, count, 12, loudness=-2)
    values[:, 5] = 0
    reference = fit_units(values, zeros(count), rng.permutation(np.arange(count) % 5))
    lowest = []
    for fold in range(int(reference.folds.max()) + 1):
        others = np.where(values > reference.cut, values, -np.inf)[reference.folds != fold]
        others = np.concatenate([others, np.full((4, 12), -np.inf)])
        expected = np.maximum(-np.sort(-others, axis=0)[:4], reference.cut)
        assert (reference.levels(fold) == expected).all()
        lowest.append(expected[3])
    assert (reference.floor == np.min(lowest, axis=0)).all()


def test_a_saturated_unit_says_nothing_until_an_input_is_louder() -> None:
    """Of ReLU6, say, where a third of the images is at the top."""
    values = np.minimum(np.arange(300, dtype=np.float32) / 33, 6)[:, None]
    reference = fit_units(values, zeros(300), zeros(300))
    assert reference.cut.tolist() == [6]
    assert not np.isfinite(reference.table).any()
    assert reference.loud(np.array([[6.0], [6.5]], np.float32)).tolist() == [[-np.inf], [6.5]]


@pytest.mark.parametrize("count", [10, 24, 200])
def test_a_constant_unit_ranks_no_image_before_another(count: int) -> None:
    reference = fit_units(np.full((count, 1), 3, np.float32), zeros(count), zeros(count))
    pool = np.concatenate([reference.table, reference.loud(np.full((count, 1), 3, np.float32))])
    assert not rank(pool, count).ends.any()


@pytest.mark.parametrize(("clean", "inputs"), [(10, 30), (30, 30), (250, 500), (1000, 50)])
def test_the_test_looks_no_deeper_than_what_is_kept(clean: int, inputs: int) -> None:
    """With inputs like clean images, the images that are looked at rank as they would with all values."""
    rng = np.random.default_rng(clean)
    values = rng.standard_t(3, (clean + inputs, 40)).astype(np.float32)
    reference = fit_units(values[:clean], zeros(clean), zeros(clean))
    top = top_of(clean + inputs, clean, len(reference.values))
    pool = np.concatenate([reference.table, reference.loud(values[clean:])])
    expected, got = rank(values, top), rank(pool, top)
    same = (expected.order == got.order).all(0)
    assert same.mean() > 0.9
    assert (expected.ends == got.ends)[:, same].all()


@pytest.mark.parametrize(
    ("values", "strata", "folds", "named"),
    [
        (np.zeros((0, 3)), 0, 0, r"\(0, 3\)"),
        (np.zeros((3, 0)), 3, 3, r"\(3, 0\)"),
        (np.zeros(3), 3, 3, r"\(3,\)"),
        (np.array([[1.0], [np.nan]]), 2, 2, r"\(2, 1\)"),
        (np.array([[1.0], [-np.inf]]), 2, 2, r"\(2, 1\)"),
        (np.zeros((3, 2)), 4, 4, r"\(3, 2\).*\(4,\)"),
        (np.zeros((3, 2)), 2, 2, r"\(3, 2\).*\(2,\)"),
        (np.zeros((3, 2)), 3, 2, r"\(3,\).*\(2,\)"),
    ],
)
def test_what_cannot_be_kept_is_refused(values: np.ndarray, strata: int, folds: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        fit_units(values.astype(np.float32), zeros(strata), zeros(folds))


def test_a_reference_that_does_not_fit_together_is_refused() -> None:
    """It may come from a file that someone else has written."""
    good = fit_units(np.ones((5, 2), np.float32), zeros(5), zeros(5))
    for change, named in (
        ({"cut": np.zeros(3, np.float32)}, r"\(3,\)"),
        ({"images": good.images[:2]}, r"\(2, 2\)"),
        ({"folds": zeros(4)}, r"\(4,\)"),
        ({"strata": zeros(4)}, r"\(4,\)"),
        ({"values": good.values[0]}, r"\(2,\)"),
        ({"images": good.images + 1}, "5"),
        ({"images": good.images - 1}, "-1"),
        ({"folds": zeros(5) + 5}, "5"),
        ({"folds": zeros(5) - 2}, "-2"),
    ):
        with pytest.raises(ValueError, match=named):
            replace(good, **change)


@pytest.mark.parametrize("shape", [(4, 3), (2,), (1, 1)])
def test_inputs_of_another_number_of_units_are_refused(shape: tuple[int, ...]) -> None:
    reference = fit_units(np.ones((5, 2), np.float32), zeros(5), zeros(5))
    with pytest.raises(ValueError, match=r"\(N, 2\) are needed, got \(" + str(shape[0])):
        reference.loud(np.zeros(shape, np.float32))


@pytest.mark.parametrize("at_once", [1, 250, 3 * 80 + 1, 10**6])
def test_units_are_sorted_some_at_a_time(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    values, zeros = np.round(rectified(np.random.default_rng(0), 80, 17), 1), np.zeros(80, np.int64)
    order = np.argsort(-values, axis=0, kind="stable")
    monkeypatch.setattr("detectors.shared_units.reference.SORTED_AT_ONCE", at_once)
    fitted = fit_units(values, zeros, zeros)
    kept = len(fitted.values)
    np.testing.assert_array_equal(fitted.images, order[:kept])
    np.testing.assert_array_equal(fitted.cut, np.take_along_axis(values, order, 0)[kept])
