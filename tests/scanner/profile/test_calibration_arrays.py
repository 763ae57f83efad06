"""A calibration survives the profile, and arrays that do not fit together are refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from detectors.calibration.judge import Calibration, calibrate
from detectors.calibration.standardise import fit_standardiser
from scanner.base.errors import ProfileError
from scanner.profile.calibration_arrays import calibration_from_arrays, calibration_to_arrays
from scanner.profile.header import ScoreInfo

SCORES = tuple(ScoreInfo(key=f"a:{i}", descriptor="a", kind="likelihood", combined=i != 1) for i in range(3))
ENTERS = np.array([score.combined for score in SCORES])


def crossed(folds: int = 3) -> Calibration:
    rng = np.random.default_rng(0)
    scores = np.column_stack([rng.gamma(2.0, size=(40, 2)), rng.normal(size=40)])
    return calibrate(
        scores, np.arange(40) % folds, fit_standardiser(scores, np.array([0.0, -1.0, np.nan])), 2.0, ENTERS
    )


@pytest.mark.parametrize("folds", [1, 3])
def test_round_trip(folds: int) -> None:
    calibration = crossed(folds)
    arrays = calibration_to_arrays(calibration)
    assert all(array.dtype == np.float64 and not np.isnan(array).any() for array in arrays.values())
    back = calibration_from_arrays(arrays, SCORES)
    fresh = np.random.default_rng(1).gamma(2.0, size=(20, folds, 3))
    ours, theirs = calibration.judge(fresh), back.judge(fresh)
    for name in ("scores", "z", "combined", "p_values", "score_p_values"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert back.fold_sizes.dtype == np.int64
    assert back.fold_sizes.tolist() == calibration.fold_sizes.tolist()


def swapped(array: np.ndarray) -> np.ndarray:
    """The first fold's two ends exchanged."""
    changed = array.copy()
    changed[[0, 13]] = changed[[13, 0]]
    return changed


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("fold_sizes", lambda a: a + np.array([1, 0, -1]), "not sorted|add up"),
        ("fold_sizes", lambda a: a + np.array([1, 0, 0]), "add up"),
        ("fold_sizes", lambda a: a + np.array([0.5, -0.5, 0]), "add up"),
        ("fold_sizes", lambda a: np.array([0.0, 27.0, 13.0]), "add up"),
        ("fold_sizes", lambda a: np.array([-1.0, 28.0, 13.0]), "add up"),
        ("fold_sizes", lambda a: np.array([1e300, 13.0, 13.0]), "add up"),
        ("fold_sizes", lambda a: a * np.nan, "fit together"),
        ("fold_sizes", lambda a: a[:0], "fit together"),
        ("fold_sizes", lambda a: a[None], "fit together"),
        ("combined", swapped, "not sorted"),
        ("scores", swapped, "not sorted"),
        ("combined", lambda a: a[::-1], "not sorted"),
        ("combined", lambda a: a[:-1], "fit together"),
        ("scores", lambda a: a[:, :2], "fit together"),
        ("scores", lambda a: a * np.inf, "fit together"),
        ("scales", lambda a: a * 0, "not positive"),
        ("sharpness", lambda a: -a, "sharpness is not positive"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, change: Callable[[np.ndarray], np.ndarray], says: str) -> None:
    arrays = calibration_to_arrays(crossed())
    with pytest.raises(ProfileError, match=says) as caught:
        calibration_from_arrays(arrays | {name: change(arrays[name])}, SCORES)
    assert caught.value.hint


def test_profiles_before_two_kinds_of_scores_combine_all_alike() -> None:
    arrays = calibration_to_arrays(crossed())
    del arrays["contradicts"]
    assert not calibration_from_arrays(arrays, SCORES).contradicts.any()


@pytest.mark.parametrize("name", [name for name in calibration_to_arrays(crossed()) if name != "contradicts"])
def test_nothing_is_missing(name: str) -> None:
    arrays = calibration_to_arrays(crossed())
    del arrays[name]
    with pytest.raises(ProfileError, match=f"lacks '{name}'"):
        calibration_from_arrays(arrays, SCORES)
