"""Scores of two kinds: each is combined by itself, and the mean of both counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import logsumexp

from detectors.calibration.combine import MOST, combine_kinds, soft_maximum
from detectors.calibration.judge import calibrate
from detectors.calibration.standardise import fit_standardiser

KINDS = np.array([False, True, False, True])
Z = arrays(np.float64, st.tuples(st.integers(1, 6), st.just(4)), elements=st.floats(-20, 20))


@given(Z, st.floats(0.2, 5.0))
def test_against_scipy(z: np.ndarray, sharpness: float) -> None:
    first = logsumexp(sharpness * z[:, [0, 2]], axis=1) / sharpness
    second = logsumexp(sharpness * np.clip(z[:, [1, 3]], -1.0, 4.0), axis=1) / sharpness
    np.testing.assert_allclose(combine_kinds(z, KINDS, sharpness), (first + second) / 2, atol=1e-9)


@given(Z, st.booleans())
def test_one_kind_is_a_soft_maximum(z: np.ndarray, which: bool) -> None:
    np.testing.assert_array_equal(combine_kinds(z, np.full(4, which)), soft_maximum(z))


@given(Z, st.integers(0, 3), st.floats(0, 30))
def test_never_less_suspicious_by_a_higher_score(z: np.ndarray, index: int, more: float) -> None:
    higher = z.copy()
    higher[:, index] += more
    assert (combine_kinds(higher, KINDS) >= combine_kinds(z, KINDS) - 1e-12).all()


def test_what_is_not_finite_is_not_cut() -> None:
    z = np.array([[0.0, np.inf, 0.0, 0.0], [0.0, 1e9, 0.0, 0.0], [0.0, MOST, 0.0, 0.0]])
    combined = combine_kinds(z, KINDS)
    assert combined[0] == np.inf
    assert combined[1] == combined[2] < 4


def test_being_far_from_other_classes_is_no_excuse() -> None:
    strange = combine_kinds(np.array([[9.0, -1e30, 9.0, -1e30]]), KINDS)
    assert strange[0] > 4


def test_a_kind_is_needed_for_each() -> None:
    with pytest.raises(ValueError, match="the kind of each score"):
        combine_kinds(np.zeros((2, 4)), KINDS[:3])
    scores = np.random.default_rng(0).normal(size=(20, 2))
    standardiser = fit_standardiser(scores, np.full(2, np.nan))
    with pytest.raises(ValueError, match="enters and contradicts"):
        calibrate(scores, np.zeros(20, np.int64), standardiser, 1.0, None, np.ones(3, bool))


def test_scores_that_do_not_enter_do_not_count() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(50, 4))
    standardiser = fit_standardiser(scores, np.full(4, np.nan))
    enters = np.array([True, False, True, True])
    calibration = calibrate(scores, np.zeros(50, np.int64), standardiser, 1.0, enters, KINDS)
    given = rng.normal(size=(5, 1, 4))
    other = given + np.array([0.0, 9.0, 0.0, 0.0])
    np.testing.assert_array_equal(calibration.combine(given), calibration.combine(other))
    expected = combine_kinds(standardiser(given[:, 0])[:, enters], KINDS[enters], 1.0)
    np.testing.assert_allclose(calibration.combine(given)[:, 0], expected)
