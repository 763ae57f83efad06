"""Listings and names beyond memory: the same order and items as those that fit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanner.base.errors import SourceError
from scanner.inputs import listing as listing_module
from scanner.inputs import sorted_names
from scanner.inputs.items import Item
from scanner.inputs.listing import Listing, listing_lines
from scanner.inputs.sorted_names import SortedNames, sort_names, sort_records
from scanner.inputs.source import open_source

NAMES = st.lists(st.binary(min_size=1, max_size=6).filter(lambda name: b"\0" not in name), max_size=60)


@given(NAMES)
def test_the_order_is_that_of_bytes_wherever_it_is_made(names: list[bytes]) -> None:
    texts = [os.fsdecode(name) for name in names]
    expected = [os.fsdecode(name) for name in sorted(names)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_names, "RUN", 7)
        patch.setattr(sorted_names, "_BLOCK", 4)
        patch.setattr(sorted_names, "_KEPT", 2)
        patch.setattr(sorted_names, "_READ", 5)
        found = sort_names(iter(texts))
        assert isinstance(found, SortedNames) == (len(names) > 7)
        assert list(found) == expected
        assert [found[position] for position in range(len(found))] == expected
        assert found[2:5] == expected[2:5]
        assert len(found) == len(expected)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=5), st.text("\1\2a ,", max_size=3)), max_size=40))
def test_records_are_in_the_order_of_names_and_can_be_taken_apart(records: list[tuple[bytes, str]]) -> None:
    texts = [(os.fsdecode(name.replace(b"\0", b"\1")), text) for name, text in records]
    expected = sorted(texts, key=lambda record: (os.fsencode(record[0]), record[1]))
    for run in (7, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sorted_names, "RUN", run)
            patch.setattr(sorted_names, "_BLOCK", 4)
            names, beside = sort_records(iter(texts))
            assert list(zip(names, beside, strict=True)) == expected
            assert [(names[index], beside[index]) for index in range(len(names))] == expected
            assert list(names[1:4]) == [name for name, _ in expected[1:4]]


def test_a_manifest_beyond_memory_is_the_same_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "inputs.csv"
    rows = [f"{number % 7}/é{number}.png,class {number % 3}" for number in range(40)]
    path.write_text("file_name,label\n" + "\n".join(rows) + "\n")
    expected = open_source(path)
    monkeypatch.setattr(sorted_names, "RUN", 6)
    found = open_source(path)
    assert list(found.items) == list(expected.items)
    assert (found.class_names, found.layout) == (expected.class_names, expected.layout)
    assert list(listing_lines(found)) == list(listing_lines(expected))
    path.write_text("file_name,label\n" + "\n".join([*rows, rows[30], rows[3], "z.png,"]) + "\n")
    with pytest.raises(SourceError, match=r"line 42: '2/é30\.png' was named on line 32 already"):
        open_source(path)


@pytest.mark.parametrize("labels", [True, False])
def test_a_folder_beyond_memory_is_the_same_source(
    labels: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        folder = tmp_path / f"class {number % 3}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}\udcff.png").write_bytes(bytes(number))
    expected = open_source(tmp_path, labels=labels)
    monkeypatch.setattr(sorted_names, "RUN", 6)
    found = open_source(tmp_path, labels=labels)
    assert list(found.items) == list(expected.items)
    assert (found.class_names, found.kind) == (expected.class_names, expected.kind)
    item = found.items[17]
    assert found.read(item) == expected.read(item)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Item]]:
    """A listing of 11 files in class folders, in blocks of four, and what it lists."""
    monkeypatch.setattr(listing_module, "BLOCK", 4)
    monkeypatch.setattr(listing_module, "_KEPT", 1)
    for number in range(11):
        folder = tmp_path / "in" / ("even" if number % 2 == 0 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}\n\udcff.png").write_bytes(bytes(number))
    source = open_source(tmp_path / "in")
    path = tmp_path / "listing.jsonl"
    path.write_bytes(b"".join(listing_lines(source)))
    return path, list(source.items)


def test_a_listing_holds_items_names_and_sizes(written: tuple[Path, list[Item]]) -> None:
    path, items = written
    listing = Listing(path)
    assert len(listing) == 11
    assert list(listing) == items == listing[:]
    assert listing[-1] == items[10]
    for index, item in enumerate(items):
        entry = listing.entry(index)
        assert entry.path.endswith("\udcff.png")
        assert item.id.endswith("\\xff.png")
        assert entry.size == (int(item.id.split("/")[1].split("\n")[0]))
    with pytest.raises(IndexError):
        listing[11]


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"id":7}',
        b'{"id":"a","size":"x"}',
        b'{"id":"a","label":1}',
        b'{"id":"\\ud800"}',
        b"[" * 9999,
    ],
)
def test_a_damaged_line_is_one_error(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "listing.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(SourceError, match="damaged listing"):
        Listing(path)[0]


def test_an_empty_listing_and_none(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert list(Listing(tmp_path / "empty")) == []
    with pytest.raises(SourceError, match="cannot be read"):
        Listing(tmp_path / "none")
