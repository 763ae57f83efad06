"""The sample of inputs that are looked at together: whatever their order, each picture once."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.copies import copy_distance
from detectors.drift.appearance import appearance, thumbnails_of
from scanner.inputs.items import Item
from scanner.inputs.pipeline import Batch
from scanner.scanning import sample as sample_module
from scanner.scanning.sample import INDEX, MIN_SAMPLE, UNITS, InputSample, Sample, candidates

PICTURES = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1), np.uint8)
LOOKS = appearance(PICTURES)
DISTANCE = copy_distance(thumbnails_of(LOOKS))


def batch(rows: Sequence[int], start: int = 0, *, broken: Sequence[int] = (), units: bool = False) -> Batch:
    """Pictures as a judged chunk; what is broken is not finite."""
    which = np.array(rows, int)
    outputs = {
        "predicted": which % 3,
        "scores": np.sin(which)[:, None, None] * np.ones((1, 2, 3)),
        "p_values": (which + 1) / 100,
        "appearance": LOOKS[which % 60],
        "usable": ~np.isin(which, broken),
        "other": which,
    }
    if units:
        outputs["units"] = which[:, None].astype(np.float32)
    digests = tuple(hashlib.sha256(b"%d" % row).hexdigest() for row in rows)
    items = tuple(Item(start + position, f"{row}.png", None) for position, row in enumerate(rows))
    return Batch(start, items, np.arange(len(rows)), outputs, digests, ())


def sampled(*batches: Batch, distance: float | None = DISTANCE) -> Sample:
    collected = InputSample(sum(len(one.items) for one in batches))
    for one in batches:
        collected.add(one)
    assert collected.missing() == []
    found = collected.finish(distance)
    assert found is not None
    return found


def as_chunk(one: Batch, total: int) -> Batch:
    """With the units of those rows alone that a sample of so many inputs may want."""
    outputs = dict(one.outputs)
    units = outputs.pop(UNITS)
    kept = candidates(one, total)
    return replace(one, outputs=outputs | {"kept_rows": kept, "kept_units": units[kept]})


def completed(batches: Sequence[Batch]) -> tuple[Sample, list[int]]:
    """The sample of chunks, and which inputs were read again for it."""
    total = sum(len(one.items) for one in batches)
    collected = InputSample(total)
    for one in batches:
        collected.add(as_chunk(one, total))
    missing = collected.missing()
    where = {item.index: (one, position) for one in batches for position, item in enumerate(one.items)}
    for index in missing:
        one, position = where[index]
        collected.complete(
            replace(
                one,
                items=one.items[position : position + 1],
                readable=np.zeros(1, np.int64),
                outputs={name: value[position : position + 1] for name, value in one.outputs.items()},
                digests=one.digests[position : position + 1],
            )
        )
    found = collected.finish(None)
    assert found is not None
    return found, missing


def assert_equal(one: Sample, other: Sample) -> None:
    """All but the place in the list."""
    assert one.digests == other.digests
    assert one.contents == other.contents
    assert one.values.keys() == other.values.keys()
    for name in one.values.keys() - {INDEX}:
        np.testing.assert_array_equal(one.values[name], other.values[name])


@pytest.mark.parametrize("most", [2000, 25])
def test_order_chunks_and_duplicates_do_not_matter(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "SAMPLE", most)
    expected = sampled(batch(range(60)))
    assert len(expected) == min(most, 60)
    rng = np.random.default_rng(1)
    for _ in range(5):
        order = rng.permutation(np.concatenate([np.arange(60), rng.integers(0, 60, 30)])).tolist()
        cut = int(rng.integers(1, 89))
        assert_equal(sampled(batch(order[:cut]), batch(order[cut:], cut)), expected)


def test_it_is_those_with_the_smallest_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "SAMPLE", 25)
    found = sampled(batch(range(60)), distance=None)
    digests = sorted(int(hashlib.sha256(b"%d" % row).hexdigest(), 16) for row in range(60))
    assert list(found.digests) == digests[:25]
    assert found.contents == 25
    rows = np.rint(found.values["p_values"] * 100 - 1).astype(int)
    np.testing.assert_array_equal(found.values[INDEX], rows)
    np.testing.assert_array_equal(found.values["appearance"], LOOKS[rows])
    assert "other" not in found.values


def test_copies_that_are_not_exact_are_there_once() -> None:
    # Pictures 60 to 119 look like 0 to 59, and have other digests.
    assert len(sampled(batch(range(120)), distance=None)) == 120
    found = sampled(batch(range(120)))
    assert (len(found), found.contents) == (60, 120)
    rows = np.rint(found.values["p_values"] * 100 - 1).astype(int) % 60
    assert sorted(rows.tolist()) == list(range(60))


@pytest.mark.parametrize("units", [False, True])
def test_what_is_not_finite_is_no_part_of_it(units: bool) -> None:
    one = batch(range(30), broken=[3, 4, 29], units=units)
    found = sampled(as_chunk(one, 30) if units else one, distance=None)
    assert len(found) == 27
    assert ("units" in found.values) is units


def test_nothing_is_no_sample() -> None:
    empty = InputSample(1)
    empty.add(batch([]))
    assert empty.finish(DISTANCE) is None
    empty.add(batch([1], broken=[1]))
    assert empty.finish(DISTANCE) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "SAMPLE_BYTES", 1)
    assert len(sampled(batch(range(60)), distance=None)) == MIN_SAMPLE


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 59), min_size=1, max_size=150),
    st.lists(st.integers(1, 149), max_size=6),
    st.sampled_from([0, 1, 4]),
)
def test_where_few_units_are_kept_the_rest_is_read_again(rows: list[int], cuts: list[int], over: int) -> None:
    """Whatever the copies and the chunks: the sample is that of all units, index and all."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sample_module, "SAMPLE", 20)
        expected = sampled(as_chunk(batch(rows, units=True), 1), distance=None)
        patched.setattr(sample_module, "OVERSAMPLE", over)
        edges = sorted({0, *(cut for cut in cuts if cut < len(rows)), len(rows)})
        chunks = [batch(rows[a:b], a, units=True) for a, b in itertools.pairwise(edges)]
        found, missing = completed(chunks)
        assert_equal(found, expected)
        np.testing.assert_array_equal(found.values[INDEX], expected.values[INDEX])
        assert len(missing) <= 20
        if over == 0 and len(rows) > 1:
            assert missing


def test_one_that_changed_meanwhile_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "OVERSAMPLE", 0)
    one = batch(range(30), units=True)
    collected = InputSample(30)
    collected.add(as_chunk(one, 30))
    assert len(collected.missing()) == 30
    digests = tuple(hashlib.sha256(b"another").hexdigest() if n < 4 else one.digests[n] for n in range(30))
    collected.complete(replace(one, digests=digests))
    found = collected.finish(None)
    assert found is not None
    assert sorted(found.values[INDEX].tolist()) == list(range(4, 30))
