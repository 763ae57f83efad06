"""What clean images look like, in a profile and out of it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from profile_samples import sample_profile

from detectors.copies import copy_distance
from detectors.drift.appearance import STATISTICS, WIDTH, appearance, statistics_of, thumbnails_of
from scanner.base.errors import ProfileError
from scanner.profile.content import Profile
from scanner.profile.looks import LEVELS, ReferenceLooks, content_number, looks_from_profile

PICTURES = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), np.uint8)
ROWS = appearance(PICTURES)
DIGESTS = np.stack([np.frombuffer(hashlib.sha256(image.tobytes()).digest(), np.uint8) for image in PICTURES])
LOOKS = ReferenceLooks.of(ROWS, DIGESTS)


def profile_with(**arrays: np.ndarray) -> Profile:
    profile = sample_profile()
    return replace(profile, calibration=dict(profile.calibration) | LOOKS.to_arrays() | arrays)


def test_what_is_stored_is_what_is_measured() -> None:
    statistics = statistics_of(ROWS).astype(np.float64)
    assert LOOKS.quantiles.shape == (len(STATISTICS), LEVELS)
    np.testing.assert_allclose(LOOKS.quantiles[:, 50], np.median(statistics, 0))
    np.testing.assert_allclose(LOOKS.quantiles[:, 0], statistics.min(0))
    np.testing.assert_allclose(LOOKS.quantiles[:, -1], statistics.max(0))
    assert LOOKS.copy_distance == copy_distance(thumbnails_of(ROWS))


def test_it_comes_back() -> None:
    back = looks_from_profile(profile_with())
    assert back is not None
    np.testing.assert_array_equal(back.quantiles, LOOKS.quantiles)
    np.testing.assert_array_equal(back.contents, LOOKS.contents)
    assert back.copy_distance == LOOKS.copy_distance


@given(st.lists(st.integers(0, 2**256 - 1), min_size=1, max_size=20), st.integers(0, 2**256 - 1))
def test_it_knows_its_own_images(digests: list[int], stranger: int) -> None:
    written = np.array([list(digest.to_bytes(32, "big")) for digest in digests], np.uint8)
    looks = ReferenceLooks.of(np.zeros((2, WIDTH), np.float32), written)
    assert all(looks.has(digest) for digest in digests)
    assert looks.has(stranger) == (content_number(stranger) in set(map(content_number, digests)))
    back = looks_from_profile(profile_with(**looks.to_arrays()))
    assert back is not None
    assert all(back.has(digest) for digest in digests)


def test_repeated_images_are_there_once() -> None:
    looks = ReferenceLooks.of(ROWS, np.concatenate((DIGESTS, DIGESTS[:5])))
    np.testing.assert_array_equal(looks.contents, LOOKS.contents)
    assert (np.diff(looks.contents) > 0).all()


def test_a_large_reference_is_compared_in_part() -> None:
    rows = np.random.default_rng(1).normal(0, 0.1, (5200, WIDTH)).astype(np.float32)
    looks = ReferenceLooks.of(rows, np.zeros((1, 32), np.uint8))
    assert 0 <= looks.copy_distance <= 0.05
    np.testing.assert_allclose(looks.quantiles[:, -1], rows[:, -len(STATISTICS) :].max(0))


def test_an_older_profile_says_nothing() -> None:
    assert looks_from_profile(sample_profile()) is None


ARRAYS = LOOKS.to_arrays()
QUANTILES, CONTENTS = ARRAYS["appearance_quantiles"], ARRAYS["contents"]


def changed(array: np.ndarray, where: tuple[int, ...] | int, value: float) -> np.ndarray:
    copy = array.copy()
    copy[where] = value
    return copy


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("appearance_quantiles", QUANTILES[:-1]),
        ("appearance_quantiles", QUANTILES[:, :-1]),
        ("appearance_quantiles", QUANTILES[0]),
        ("appearance_quantiles", QUANTILES[:, ::-1]),
        ("appearance_quantiles", changed(QUANTILES, (2, 50), np.nan)),
        ("appearance_quantiles", changed(QUANTILES, (2, 100), np.inf)),
        ("appearance_quantiles", changed(QUANTILES, (0, 0), -np.inf)),
        ("appearance_quantiles", changed(QUANTILES, (1, 50), 1e9)),
        ("copy_distance", np.array([np.nan])),
        ("copy_distance", np.array([-0.1])),
        ("copy_distance", np.array([1.5])),
        ("copy_distance", np.array([0.01, 0.02])),
        ("copy_distance", np.array(0.01)),
        ("contents", CONTENTS[::-1]),
        ("contents", CONTENTS[[0, 0, 1]]),
        ("contents", CONTENTS[:, None]),
        ("contents", changed(CONTENTS, 3, np.nan)),
        ("contents", np.array([np.nan])),
        ("contents", np.array([1.0, np.inf])),
        ("contents", np.array([1.0, 1.5])),
        ("contents", np.array([-1.0, 1.0])),
        ("contents", np.array([1.0, 2.0**52])),
    ],
)
def test_arrays_that_fit_does_not_write_are_refused(name: str, value: np.ndarray) -> None:
    with pytest.raises(ProfileError, match="looks of clean images"):
        looks_from_profile(profile_with(**{name: value}))


@pytest.mark.parametrize("name", ARRAYS)
def test_a_missing_part_is_refused(name: str) -> None:
    profile = profile_with()
    rest = {key: value for key, value in profile.calibration.items() if key != name}
    with pytest.raises(ProfileError, match="missing"):
        looks_from_profile(replace(profile, calibration=rest))
