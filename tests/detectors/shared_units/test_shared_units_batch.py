"""The test of a batch as a whole."""

from __future__ import annotations

import numpy as np
import pytest
from unit_samples import rectified

from detectors.shared_units.batch import shared_units_test
from detectors.shared_units.reference import fit_units


def zeros(count: int) -> np.ndarray:
    return np.zeros(count, np.int64)


@pytest.mark.parametrize("inputs", [1, 10, 2000])
@pytest.mark.parametrize("clean", [10, 250])
def test_any_number_of_inputs_like_clean_images_says_little(clean: int, inputs: int) -> None:
    rng = np.random.default_rng(clean + inputs)
    reference = fit_units(rectified(rng, clean, 48), zeros(clean), zeros(clean))
    result = shared_units_test(reference, rectified(rng, inputs, 48), zeros(inputs))
    assert (result.inputs, result.comparable) == (inputs, inputs)
    assert result.p_value > 0.01
    either = min(1.0, result.exact_p_value / 0.1, result.permutation_p_value / 0.9)
    assert result.p_value == pytest.approx(either)


@pytest.mark.parametrize(("inputs", "triggered"), [(10, 5), (100, 10), (500, 250), (2000, 100)])
def test_a_unit_that_triggered_inputs_share_is_named_and_all_of_them_are_counted(inputs: int, triggered: int) -> None:
    rng = np.random.default_rng(inputs)
    reference = fit_units(rectified(rng, 250, 64), zeros(250), zeros(250))
    values = rectified(rng, inputs, 64)
    values[:triggered, 40:44] = 500 + rng.random((triggered, 4))
    values[triggered:, 40:44] = 0
    result = shared_units_test(reference, values, zeros(inputs))
    assert result.p_value < 1e-3
    assert [unit.unit for unit in result.units[:4]] == [40, 41, 42, 43]
    assert [unit.inputs for unit in result.units[:4]] == [triggered] * 4
    assert result.exact_p_value <= result.units[0].p_value <= 1


def test_inputs_of_a_crowded_stratum_are_counted_though_they_are_not_compared() -> None:
    """All inputs are predicted as the backdoor's class, of which there are ten clean images."""
    rng = np.random.default_rng(4)
    strata = np.where(np.arange(100) < 10, 1, 0)
    clean, values = rectified(rng, 100, 20), rectified(rng, 300, 20)
    clean[:, 3] = 0
    values[:, 3] = np.where(np.arange(300) % 3 > 0, 5 + rng.random(300), 0)
    result = shared_units_test(fit_units(clean, strata, zeros(100)), values, np.ones(300, int))
    assert result.compared == 40
    assert result.units[0].unit == 3
    assert result.units[0].inputs == 200


def test_evidence_beyond_random_choices_is_left_to_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    reference = fit_units(rectified(rng, 200, 32), zeros(200), zeros(200))
    values = rectified(rng, 100, 32)
    values[:50, 3] = 6000
    result = shared_units_test(reference, values, zeros(100))
    assert result.permutation_p_value is None
    assert result.p_value == pytest.approx(result.exact_p_value / 0.1)
    assert result.p_value < 1e-8


def test_strata_without_clean_images_say_nothing() -> None:
    rng = np.random.default_rng(1)
    strata = rng.integers(0, 3, 100)
    reference = fit_units(rectified(rng, 100, 20), strata, zeros(100))
    values = rectified(rng, 60, 20)
    values[30:, 7] += 500
    of = np.where(np.arange(60) < 30, 1, 9)
    result = shared_units_test(reference, values, of)
    assert result.comparable == 30
    assert result.p_value > 0.05
    alone = shared_units_test(reference, values[30:], of[30:])
    assert (alone.comparable, alone.p_value, alone.units) == (0, 1.0, ())
    compared = shared_units_test(reference, values, np.ones(60, int))
    assert compared.p_value < 1e-3


def test_the_order_of_units_and_clean_images_changes_nothing_but_numbers() -> None:
    rng = np.random.default_rng(2)
    clean, values, strata = np.round(rectified(rng, 90, 30)), np.round(rectified(rng, 70, 30)), rng.integers(0, 2, 160)
    values[:9, 4] += 9
    first = shared_units_test(fit_units(clean, strata[:90], zeros(90)), values, strata[90:])
    assert 1e-3 < first.p_value < 1
    order = rng.permutation(30)
    other = shared_units_test(fit_units(clean[:, order], strata[:90], zeros(90)), values[:, order], strata[90:])
    assert (other.p_value, other.permutation_p_value, other.exact_p_value) == (
        first.p_value,
        first.permutation_p_value,
        first.exact_p_value,
    )
    assert (order[other.units[0].unit], other.units[0].inputs) == (first.units[0].unit, first.units[0].inputs)
    images = rng.permutation(90)
    again = shared_units_test(fit_units(clean[images], strata[images], zeros(90)), values, strata[90:])
    assert (again.exact_p_value, again.units) == (first.exact_p_value, first.units)


def test_it_is_the_same_again() -> None:
    rng = np.random.default_rng(3)
    reference = fit_units(rectified(rng, 60, 16), zeros(60), zeros(60))
    values = rectified(rng, 40, 16)
    assert shared_units_test(reference, values, zeros(40)) == shared_units_test(reference, values, zeros(40))


def test_no_input_is_no_evidence() -> None:
    reference = fit_units(np.ones((5, 3), np.float32), zeros(5), zeros(5))
    result = shared_units_test(reference, np.zeros((0, 3), np.float32), zeros(0))
    assert (result.inputs, result.p_value, result.units) == (0, 1.0, ())


def test_a_single_clean_image_and_silent_units_are_no_evidence() -> None:
    for count in (1, 30):
        reference = fit_units(np.zeros((count, 3), np.float32), zeros(count), zeros(count))
        assert shared_units_test(reference, np.zeros((20, 3), np.float32), zeros(20)).p_value == 1


def test_bad_input_is_refused() -> None:
    reference = fit_units(np.ones((5, 3), np.float32), zeros(5), zeros(5))
    for shape, strata, named in (
        ((4, 2), 4, r"\(4, 2\), \(4,\)"),
        ((4, 3), 5, r"\(4, 3\), \(5,\)"),
        ((3,), 3, r"\(3,\)"),
    ):
        with pytest.raises(ValueError, match=named):
            shared_units_test(reference, np.zeros(shape, np.float32), zeros(strata))
