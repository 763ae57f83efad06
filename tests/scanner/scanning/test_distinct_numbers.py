"""Different numbers are counted once, in memory or on the disk."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.base.errors import OutputError
from scanner.scanning.distinct import DistinctNumbers


def ascending(numbers: list[int], room: int) -> tuple[list[int], int]:
    """What comes out, and how long the longest block was."""
    collected = DistinctNumbers(room)
    for number in numbers:
        collected.add(number)
    blocks = [block.tolist() for block in collected.ascending()]
    return [number for block in blocks for number in block], max(map(len, blocks), default=0)


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 20), max_size=300), st.integers(2, 40))
@settings(deadline=None)
def test_each_once_in_order_whatever_the_room(numbers: list[int], room: int) -> None:
    assert ascending(numbers, room)[0] == sorted(set(numbers))


def test_blocks_stay_small_on_the_disk() -> None:
    numbers = np.random.default_rng(0).integers(0, 2**60, 40_000, np.uint64).tolist()
    found, longest = ascending(numbers * 2, 1000)
    assert found == sorted(set(numbers))
    # 64 numbers of each of the 80 runs at most.
    assert longest <= 64 * 81


def test_they_may_be_asked_for_again_and_more_be_added() -> None:
    numbers = DistinctNumbers(8)
    for number in range(20):
        numbers.add(number)
    assert [number for block in numbers.ascending() for number in block.tolist()] == list(range(20))
    numbers.add(7)
    numbers.add(99)
    assert [number for block in numbers.ascending() for number in block.tolist()] == [*range(20), 99]


def test_copies_do_not_reach_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: pytest.fail("the disk was used"))
    assert ascending([1, 2, 3] * 1000, 16)[0] == [1, 2, 3]


def test_no_room_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(OutputError, match=r"^the folder for temporary files: cannot keep .*No such file") as caught:
        ascending(list(range(20)), 8)
    assert "\n" not in str(caught.value)
