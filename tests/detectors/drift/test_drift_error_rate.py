"""How often inputs that did not drift are said to have, and how often those that did are seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from detectors.calibration.judge import Calibration, calibrate
from detectors.calibration.standardise import fit_standardiser
from detectors.drift.drift import MIN_REST, Shift, appearance_shifts, score_shift
from detectors.drift.fold_ranks import fold_ranks

CLEAN, INPUTS, FOLDS, ALPHA = 250, 200, 5, 0.05
NAMES = ("one", "two", "three", "combined")


def drawn(rng: np.random.Generator, count: int) -> np.ndarray:
    """Dependent scores ``(count, 3)``, the last with many ties."""
    common, own = rng.standard_t(4, (count, 1)), rng.normal(size=(count, 3))
    scores = common + own
    scores[:, 2] = np.rint(scores[:, 2])
    return scores


def rest_of(rng: np.random.Generator, move: float = 0.0, triggered: int = 0) -> tuple[Calibration, np.ndarray]:
    """The clean images, and ranks of the inputs that they do not flag; some inputs may be moved far away."""
    folds = rng.permutation(np.arange(CLEAN) % FOLDS)
    level, scale = rng.normal(9, 1, FOLDS), rng.uniform(0.7, 1.5, FOLDS)
    clean, inputs = drawn(rng, CLEAN), drawn(rng, INPUTS) + move
    inputs[:triggered] += 40
    of_clean = level[folds, None] + scale[folds, None] * clean
    of_inputs = level[:, None] + scale[:, None] * inputs[:, None]
    calibration = calibrate(of_clean, folds, fit_standardiser(of_clean, np.full(3, -100.0)), 2.0)
    rest = calibration.judge(of_inputs).p_values > ALPHA
    count = int(rest.sum())
    ranks = fold_ranks(calibration, of_inputs[rest], rng.integers(0, FOLDS, count), rng.random(count))
    return calibration, ranks


@pytest.mark.parametrize("triggered", [0, 40])
def test_inputs_like_the_reference_have_hardly_ever_drifted(triggered: int) -> None:
    rng, drifted = np.random.default_rng(triggered), 0
    for _ in range(300):
        calibration, ranks = rest_of(rng, triggered=triggered)
        shift = score_shift(ranks, NAMES, ALPHA, calibration.size)
        assert shift is not None
        drifted += shift.drifted
    # At a rate of 1e-3, two of 300 are exceeded with a probability of 0.004.
    assert drifted <= 2


def test_inputs_that_drifted_are_seen() -> None:
    rng = np.random.default_rng(5)
    shifts = []
    for _ in range(30):
        calibration, ranks = rest_of(rng, move=1.5)
        shifts.append(score_shift(ranks, NAMES, ALPHA, calibration.size))
    assert sum(shift is not None and shift.drifted for shift in shifts) >= 29


def test_a_small_difference_of_many_inputs_does_not_count() -> None:
    ranks = np.random.default_rng(0).random((200_000, 1)) ** 1.1
    shift = score_shift(ranks, ("layer",), 0.0, 200_000)
    assert shift is not None
    assert shift.p_value < 1e-6
    assert shift.distance < 0.1
    assert not shift.drifted


def test_the_p_value_is_that_of_the_largest_distance_times_the_number_of_scores() -> None:
    ranks = np.random.default_rng(3).random((60, 3)) ** [1.0, 1.6, 1.2]
    shift = score_shift(ranks, ("a", "b", "combined"), 0.0, 300)
    distance = stats.kstest(ranks[:, 1], "uniform").statistic
    assert shift is not None
    assert shift.name == "b"
    assert shift.distance == pytest.approx(distance)
    assert shift.p_value == pytest.approx(3 * stats.kstwobign.sf(distance * np.sqrt(60 * 300 / 360)))


def test_few_inputs_say_nothing() -> None:
    ranks = np.zeros((MIN_REST - 1, 2))
    assert score_shift(ranks, ("a", "combined"), 0.01, 300) is None
    assert score_shift(np.zeros((MIN_REST, 2)), ("a", "combined"), 0.01, 300) is not None
    assert appearance_shifts(ranks[:, :1], ("brightness",), np.zeros((1, 101)), 300) == ()


def test_looks_are_sorted_by_distance_and_are_right_by_two_samples() -> None:
    rng = np.random.default_rng(4)
    clean, inputs = rng.normal(size=(2000, 3)), rng.normal([0.0, 1.2, 0.6], size=(150, 3))
    quantiles = np.quantile(clean, np.linspace(0, 1, 101), axis=0).T
    shifts = appearance_shifts(inputs, ("noise", "brightness", "contrast"), quantiles, 2000)
    assert [shift.name for shift in shifts] == ["brightness", "contrast", "noise"]
    assert [shift.drifted for shift in shifts] == [True, True, False]
    for shift, column in zip(shifts, (1, 2, 0), strict=True):
        expected = stats.ks_2samp(inputs[:, column], clean[:, column]).statistic
        assert shift.distance == pytest.approx(expected, abs=0.02)


def test_clean_looks_have_hardly_ever_drifted() -> None:
    rng, drifted = np.random.default_rng(6), 0
    for _ in range(300):
        clean, inputs = np.rint(rng.normal(0, 4, (300, 4))), np.rint(rng.normal(0, 4, (120, 4)))
        quantiles = np.quantile(clean, np.linspace(0, 1, 101), axis=0).T
        drifted += any(shift.drifted for shift in appearance_shifts(inputs, ("a", "b", "c", "d"), quantiles, 300))
    assert drifted <= 2


def test_a_shift_needs_both_chance_excluded_and_a_distance() -> None:
    assert Shift("x", 0.1, 1e-3).drifted
    assert not Shift("x", 0.0999, 1e-9).drifted
    assert not Shift("x", 0.5, 1.1e-3).drifted


def test_names_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="ranks"):
        score_shift(np.zeros((30, 2)), ("a",), 0.01, 100)
    with pytest.raises(ValueError, match="statistics"):
        appearance_shifts(np.zeros((30, 2)), ("a", "b"), np.zeros((1, 101)), 100)
