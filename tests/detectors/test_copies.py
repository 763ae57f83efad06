"""Copies: exact, noisy and recompressed pictures are one, different ones are not."""

from __future__ import annotations

import io
from random import Random

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from detectors.copies import LARGEST, copies, copy_distance
from detectors.drift.appearance import appearance, thumbnails_of

THUMBNAILS = arrays(np.float32, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(-3, 3).map(float))


def pictures(count: int, seed: int, side: int = 32) -> np.ndarray:
    """Different pictures ``(count, side, side, 1)``, as smooth as photographs."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(count, side, side)), (0, 3, 3))
    return np.clip(128 + 50 * noise / noise.std(), 0, 255).astype(np.uint8)[..., None]


def thumbnails(pixels: np.ndarray) -> np.ndarray:
    return thumbnails_of(appearance(pixels))


def leaders(rows: np.ndarray, distance: float) -> list[int]:
    """The leader algorithm, one picture after the other."""
    group: list[int] = []
    own: list[int] = []
    for position, row in enumerate(rows):
        distances = np.square(rows[own].astype(np.float64) - row).sum(1) / 2
        if not own or distances.min() > distance:
            own.append(position)
            group.append(position)
        else:
            group.append(own[int(distances.argmin())])
    return group


def partition(group: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(group == leader).tolist()) for leader in np.unique(group)}


@given(THUMBNAILS, st.sampled_from([0.0, 0.25, 0.75, 1.25, 3.0]))
def test_everybody_is_near_an_earlier_leader_and_leaders_are_not_near_one_another(
    rows: np.ndarray, distance: float
) -> None:
    group = copies(rows, distance)
    assert (group <= np.arange(len(rows))).all()
    assert (group[group] == group).all()
    halves = cdist(rows, rows, "sqeuclidean") / 2
    assert (halves[np.arange(len(rows)), group] <= distance).all()
    own = np.unique(group)
    assert (halves[np.ix_(own, own)] + np.diag(np.full(len(own), np.inf)) > distance).all()
    # Who leads is decided one after the other, whatever happens to the followers.
    assert own.tolist() == sorted(set(leaders(rows, distance)))


@given(THUMBNAILS, st.randoms(use_true_random=False))
def test_exact_copies_are_always_together_in_any_order(rows: np.ndarray, random: Random) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    group = copies(rows[order], 0.0)
    _, expected = np.unique(rows[order], axis=0, return_inverse=True)
    assert partition(group) == partition(expected.ravel())


@pytest.mark.parametrize("count", [1024, 1025, 2100])
def test_chunks_make_no_difference(count: int) -> None:
    rng = np.random.default_rng(count)
    centres = rng.normal(size=(700, 16))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    which = rng.integers(0, len(centres), count)
    rows = (centres[which] + rng.normal(0, 0.01, (count, 16))).astype(np.float32)
    group = copies(rows, 0.03)
    assert group.tolist() == leaders(rows, 0.03)
    assert partition(group) == partition(which)


def test_a_copy_beyond_a_chunks_border_is_known() -> None:
    rows = thumbnails(pictures(1030, 0))
    rows[1024:] = rows[:6]
    group = copies(rows, 0.0)
    assert group[1024:].tolist() == [0, 1, 2, 3, 4, 5]
    assert group[:1024].tolist() == list(range(1024))


def test_different_pictures_are_no_copies_and_frames_of_one_are() -> None:
    clean, others = thumbnails(pictures(500, 1)), pictures(300, 2)
    distance = copy_distance(clean)
    assert len(np.unique(copies(thumbnails(others), distance))) == 300
    rng = np.random.default_rng(3)
    frames = np.clip(others[:4].repeat(50, 0) + rng.normal(0, 8, (200, 32, 32, 1)), 0, 255).astype(np.uint8)
    assert copies(thumbnails(frames), distance).tolist() == np.repeat([0, 50, 100, 150], 50).tolist()


def test_brighter_dimmer_and_recompressed_pictures_are_copies() -> None:
    distance = copy_distance(thumbnails(pictures(500, 1)))
    picture = pictures(1, 9)[0]
    buffer = io.BytesIO()
    Image.fromarray(picture[..., 0]).save(buffer, "JPEG", quality=40)
    versions = [picture, picture // 2 + 30, np.asarray(Image.open(buffer))[..., None], np.roll(picture, 1, 1)]
    assert copies(thumbnails(np.stack(versions)), distance)[:3].tolist() == [0, 0, 0]


def test_the_scale_is_the_references_own() -> None:
    rng = np.random.default_rng(4)
    base = pictures(1, 5).astype(float)
    # Pictures of one kind, as digits are, differ little from one another.
    alike = np.clip(base + gaussian_filter(rng.normal(0, 20, (300, 32, 32, 1)), (0, 2, 2, 0)), 0, 255).astype(np.uint8)
    rows = thumbnails(alike)
    nearest = (cdist(rows, rows, "sqeuclidean") / 2 + np.diag(np.full(300, np.inf))).min(1)
    found = copy_distance(rows)
    assert found == pytest.approx(np.quantile(nearest, 0.01), abs=1e-6)
    assert 0 < found < LARGEST
    assert len(np.unique(copies(rows, found))) > 290


def test_a_reference_of_more_than_a_chunk_is_compared_with_all_of_itself() -> None:
    rows = np.random.default_rng(6).normal(0, 0.1, (1500, 3)).astype(np.float32)
    nearest = (cdist(rows, rows, "sqeuclidean") / 2 + np.diag(np.full(1500, np.inf))).min(1)
    assert copy_distance(rows) == pytest.approx(np.quantile(nearest, 0.01), abs=1e-7)


def test_a_reference_of_copies_makes_only_equal_pictures_copies() -> None:
    assert copy_distance(np.ones((5, 4), np.float32)) == 0
    assert copies(np.zeros((0, 4), np.float32), 0.1).tolist() == []


def test_what_are_no_thumbnails_is_refused() -> None:
    with pytest.raises(ValueError, match="thumbnails"):
        copies(np.zeros(4, np.float32), 0.1)
    for rows in (np.zeros((1, 4), np.float32), np.zeros(4, np.float32)):
        with pytest.raises(ValueError, match="two or more"):
            copy_distance(rows)
