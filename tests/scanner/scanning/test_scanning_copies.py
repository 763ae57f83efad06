"""Copies count once while inputs are counted."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from scanner.scanning import copies as copies_module
from scanner.scanning.copies import CopyTally, DistinctCounts


def sha(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def thumbnail(number: int) -> np.ndarray:
    """All far from one another."""
    values = np.random.default_rng(number).normal(size=64)
    return (values / np.linalg.norm(values)).astype(np.float32)


def tally(rows: list[tuple[int, int | None, bool, bool]], distance: float | None = 0.02) -> DistinctCounts:
    """Of rows of content, scene, flagged and above all."""
    counting = CopyTally(distance)
    for content, scene, flagged, above in rows:
        counting.add(sha(content), None if scene is None else thumbnail(scene), flagged=flagged, above=above)
    return counting.finish()


def test_different_pictures_count_each() -> None:
    rows = [(n, n, n < 7, n < 3) for n in range(30)]
    assert tally(rows) == DistinctCounts(inputs=30, flagged=7, above_all=3, repeated=0, every=1)


def test_exact_copies_count_once_flagged_or_not() -> None:
    rows = [(n % 10, n % 10, n % 10 < 2, n % 10 < 1) for n in range(50)]
    assert tally(rows) == DistinctCounts(inputs=10, flagged=2, above_all=1, repeated=40, every=1)
    assert tally(rows, distance=None) == tally(rows)


def test_near_copies_count_once_among_the_flagged_alone() -> None:
    rows = [(n, n % 4, n < 12, n == 5) for n in range(40)]
    assert tally(rows) == DistinctCounts(inputs=40, flagged=4, above_all=1, repeated=0, every=1)
    without = [(content, None, flagged, above) for content, _, flagged, above in rows]
    assert tally(without, distance=None) == DistinctCounts(40, 12, 1, 0, 1)


def test_one_content_is_above_all_if_it_ever_was() -> None:
    assert tally([(1, 1, True, True), (1, 1, True, False)]).above_all == 1
    assert tally([(1, 1, True, False), (1, 1, True, True)]).above_all == 1


def test_order_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    rows = [(int(n), int(n) % 9, int(n) % 3 == 0, int(n) % 6 == 0) for n in rng.integers(0, 60, 100)]
    expected = tally(rows)
    for _ in range(5):
        assert tally([rows[position] for position in rng.permutation(100)]) == expected


def test_nothing_and_nothing_flagged() -> None:
    assert tally([]) == DistinctCounts(0, 0, 0, 0, 1)
    assert tally([(1, 1, False, False)]) == DistinctCounts(1, 0, 0, 0, 1)


@pytest.mark.parametrize("scenes", [None, 5])
def test_of_too_many_those_are_counted_whose_digests_end_in_zeros(
    scenes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies_module, "MOST", 50)
    rows = [(n, n if scenes is None else n % scenes, n % 2 == 0, n % 4 == 0) for n in range(1000)]
    numbers = {n: int(sha(n)[:15], 16) for n in range(1000)}
    every = 1
    while sum(1 for n in range(0, 1000, 2) if numbers[n] % every == 0) > 50:
        every *= 2
    kept = [row for row in rows if numbers[row[0]] % every == 0]
    found = tally(rows)
    assert found.every == every > 4
    assert found.inputs == len(kept)
    assert found.repeated == 0
    for count, column in ((found.flagged, 2), (found.above_all, 3)):
        chosen = {row[1] for row in kept if row[column]}
        assert count == len(chosen)
    shuffled = [rows[position] for position in np.random.default_rng(0).permutation(1000)]
    assert tally(shuffled) == found
