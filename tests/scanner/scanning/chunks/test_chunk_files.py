"""Chunks on disk: what comes back is what was written, and what is damaged, forged or refused is one clear error."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.drift.appearance import WIDTH
from scanner.base.errors import OutputError, UsageError
from scanner.inputs.items import Source
from scanner.inputs.pipeline import Batch
from scanner.inputs.source import open_source
from scanner.scanning.chunks import temporary as temporary_module
from scanner.scanning.chunks.columns import Columns, UnsoundChunk
from scanner.scanning.chunks.file import MAGIC, Place, chunk_bytes, parse_chunk
from scanner.scanning.chunks.folder import NOT_SCANNED, Chunks
from scanner.scanning.chunks.score import WantedItems, joined
from scanner.scanning.chunks.temporary import temporary_chunks

COLUMNS = Columns(classes=3, folds=2, scores=5, entering=4, units=6, features=2)
PLAN = "ab" * 32
PLACE = Place(PLAN, 1, "CPUExecutionProvider")
ODD = "detail with \N{RIGHT-TO-LEFT OVERRIDE}, \udcff and\na line"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    path = tmp_path_factory.mktemp("inputs") / "inputs.npy"
    np.save(path, np.zeros((11, 4, 4, 3), np.uint8))
    return open_source(path, labels=False)


def outputs_of(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(rows, 2, 5))
    scores[0, 0] = (np.nan, np.inf, -0.0, 1, 2)
    loud = int(generator.integers(0, 9))
    return {
        "finite": generator.random(rows) > 0.2,
        "usable": generator.random(rows) > 0.2,
        "predicted": generator.integers(-1, 3, rows),
        "source_class": generator.integers(-1, 3, rows),
        "p_values": 1 - generator.random(rows),
        "combined": generator.normal(size=rows),
        "scores": scores,
        "z": generator.normal(size=(rows, 5)),
        "top_scores": generator.integers(0, 5, (rows, 3)),
        "appearance": generator.random((rows, WIDTH), np.float32),
        "features": generator.normal(size=(rows, 2)).astype("<f2"),
        "loud_rows": generator.integers(0, rows, loud).astype(np.int32),
        "loud_units": generator.integers(0, 6, loud).astype(np.int32),
        "loud_values": generator.random(loud, np.float32),
        "kept_rows": np.arange(rows, dtype=np.int32),
        "kept_units": generator.random((rows, 6), np.float32),
    }


def chunk(source: Source, readable: tuple[int, ...] = (0, 2, 3), seed: int = 0) -> Batch:
    """The second chunk of four inputs; the others could not be read, one of them not even its bytes."""
    items = tuple(source.items[4:8])
    left_out = tuple((items[n], "truncated" if n else "missing", ODD) for n in range(4) if n not in readable)
    digests = tuple(None if n == 1 and n not in readable else hashlib.sha256(b"%d" % n).hexdigest() for n in range(4))
    outputs = outputs_of(len(readable), seed) if readable else {}
    return Batch(4, items, np.array(readable, np.int64), outputs, digests, left_out)


def assert_same(one: Batch, other: Batch) -> None:
    assert (one.start, one.items, one.digests, one.unreadable) == (
        other.start,
        other.items,
        other.digests,
        other.unreadable,
    )
    assert one.readable.tolist() == other.readable.tolist()
    assert one.outputs.keys() == other.outputs.keys()
    for name, array in one.outputs.items():
        assert other.outputs[name].dtype == array.dtype
        assert other.outputs[name].shape == array.shape
        assert other.outputs[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("readable", [(0, 1, 2, 3), (0, 2, 3), (1,), ()])
def test_what_comes_back_is_what_was_written(source: Source, readable: tuple[int, ...]) -> None:
    data = chunk_bytes(PLACE, chunk(source, readable))
    place, back = parse_chunk(data, source.items[4:8], COLUMNS)
    assert place == PLACE
    assert_same(chunk(source, readable), back)
    assert chunk_bytes(PLACE, back) == data
    counts = json.loads(data.splitlines()[-1])
    assert counts["scanned"] == len(readable)
    assert sum(counts["unreadable"].values()) == 4 - len(readable)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_goes_unnoticed(source: Source, data: st.DataObject) -> None:
    whole = chunk_bytes(PLACE, chunk(source))
    damaged = bytearray(whole)
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        damaged[data.draw(st.integers(0, len(whole) - 2))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        place, back = parse_chunk(bytes(damaged), source.items[4:8], COLUMNS)
    except UnsoundChunk:
        return
    # The footer's own words but the digest: the provider, and counts that nobody reads.
    assert_same(chunk(source), back)
    assert (place.plan, place.number) == (PLAN, 1)


def forged(source: Source, change: Callable[[dict[str, Any], dict[str, np.ndarray]], None]) -> bytes:
    """A chunk with other content and the digest that belongs to it."""
    batch = chunk(source)
    told: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = dict(batch.outputs)
    whole = chunk_bytes(PLACE, batch)
    told = json.loads(whole.split(b"\n", 2)[1])
    stated = {
        "readable": batch.readable,
        "digested": np.array([True, False, True, True]),
        "digests": np.frombuffer(b"".join(bytes.fromhex(d) for d in batch.digests if d), np.uint8).reshape(-1, 32),
    }
    arrays = {**stated, **{name: arrays[name] for name in sorted(arrays)}}
    change(told, arrays)
    if "arrays" in told and not told.pop("as stated", False):
        told["arrays"] = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    body = MAGIC + json.dumps(told).encode() + b"\n" + b"".join(array.tobytes() for array in arrays.values())
    counts = {"scanned": 3, "unreadable": {}, "provider": "x", "sha256": hashlib.sha256(body).hexdigest()}
    return body + b"\n" + json.dumps(counts).encode() + b"\n"


def put(name: str, value: object) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    def change(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = np.asarray(value)

    return change


def say(**values: object) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    def change(told: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        told.update(values)

    return change


FORGERIES = {
    "predicted class": put("predicted", np.array([0, 3, 1])),
    "class below": put("source_class", np.array([0, -2, 1])),
    "score": put("top_scores", np.full((3, 3), 5)),
    "unit": put("loud_units", np.array([6], np.int32)),
    "row of a unit": put("kept_rows", np.array([0, 1, 9], np.int32)),
    "lengths of units": put("kept_rows", np.array([0], np.int32)),
    "p-value": put("p_values", np.array([0.5, np.nan, 0.5])),
    "p-value of zero": put("p_values", np.array([0.5, 0.0, 0.5])),
    "feature that is not finite": put("features", np.full((3, 2), np.inf, "<f2")),
    "features of another width": put("features", np.zeros((3, 3), "<f2")),
    "type": put("combined", np.zeros(3, np.float32)),
    "objects": put("combined", np.array(["a", "b", "c"])),
    "shape": put("z", np.zeros((3, 4))),
    "rows": put("z", np.zeros((2, 5))),
    "another array": put("more", np.zeros(3)),
    "order": put("readable", np.array([2, 0, 3])),
    "twice": put("readable", np.array([0, 2, 2])),
    "beyond": put("readable", np.array([0, 2, 4])),
    "digests": put("digests", np.zeros((2, 32), np.uint8)),
    "digest of a read one": put("digested", np.array([False, True, True, True])),
    "reason": say(unreadable=[[1, "because", ""]]),
    "nobody left out": say(unreadable=[]),
    "left out and read": say(unreadable=[[1, "missing", ""], [2, "missing", ""]]),
    "start": say(start=0),
    "number of inputs": say(inputs=5),
    "number": say(number="x"),
    "huge array": say(arrays=[["finite", "|b1", [2**62]]], **{"as stated": True}),
    "negative array": say(arrays=[["finite", "|b1", [-1]]], **{"as stated": True}),
    "no arrays": say(arrays=[], **{"as stated": True}),
    "object array": say(arrays=[["finite", "|O", [1]]], **{"as stated": True}),
    "no list": say(arrays=7, **{"as stated": True}),
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES.keys())
def test_what_refers_to_nothing_is_refused(source: Source, change: Callable[..., None]) -> None:
    with pytest.raises(UnsoundChunk):
        parse_chunk(forged(source, change), source.items[4:8], COLUMNS)


def test_the_forger_alone_is_no_reason(source: Source) -> None:
    """The other forgeries fail for what they change."""
    assert_same(chunk(source), parse_chunk(forged(source, say()), source.items[4:8], COLUMNS)[1])


@pytest.fixture
def chunks(source: Source, tmp_path: Path) -> Chunks:
    folder = tmp_path / "chunks"
    folder.mkdir()
    return Chunks(folder, PLAN, source, 4, COLUMNS)


def test_a_folder_of_chunks(chunks: Chunks, source: Source) -> None:
    assert (len(chunks), chunks.done()) == (3, [])
    chunks.write(1, chunk(source), PLACE.provider)
    assert chunks.done() == [1]
    assert [path.name for path in chunks.folder.iterdir()] == ["0000001.chunk"]
    first, second, third = chunks.replay()
    assert_same(chunk(source), second)
    for missing, count in ((first, 4), (third, 3)):
        assert [reason for _, reason, _ in missing.unreadable] == [NOT_SCANNED] * count
        assert missing.digests == (None,) * count


def test_a_chunk_in_the_wrong_place_is_named(chunks: Chunks, source: Source, tmp_path: Path) -> None:
    chunks.write(1, chunk(source), PLACE.provider)
    path = chunks.folder / "0000001.chunk"
    path.with_name("0000001 (copy).chunk").write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match=r"\(copy\)\.chunk: is no name of a chunk: one may be there twice"):
        chunks.done()
    path.with_name("0000001 (copy).chunk").rename(path.with_name("0000003.chunk"))
    with pytest.raises(UsageError, match="beyond the last chunk"):
        chunks.done()
    path.with_name("0000003.chunk").rename(path.with_name("0000000.chunk"))
    with pytest.raises(UsageError, match=r"0000000\.chunk: is about other inputs"):
        chunks.read(0)
    path.with_name("0000000.chunk").unlink()
    other = Chunks(chunks.folder, "cd" * 32, source, 4, COLUMNS)
    with pytest.raises(UsageError, match="belongs to another plan"):
        other.read(1)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="not a regular file"):
        chunks.read(1)


def test_chunks_of_two_kinds_of_machines_are_not_mixed(chunks: Chunks, source: Source) -> None:
    chunks.write(1, chunk(source), "CPUExecutionProvider")
    last = Batch(8, tuple(source.items[8:]), np.zeros(0, np.int64), {}, (None,) * 3, ())
    last = Batch(8, last.items, last.readable, {}, last.digests, tuple((i, "missing", "") for i in last.items))
    chunks.write(2, last, "CUDAExecutionProvider")
    with pytest.raises(UsageError, match="was scored by CUDAExecutionProvider, others by CPUExecutionProvider"):
        list(chunks.replay())


def test_a_full_disk_is_one_error(chunks: Chunks, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="no space left on the device"):
        chunks.write(1, chunk(source), PLACE.provider)
    temporary = Chunks(chunks.folder, PLAN, source, 4, COLUMNS, temporary=True)
    with pytest.raises(OutputError, match="TMPDIR"):
        temporary.write(1, chunk(source), PLACE.provider)
    assert list(chunks.folder.iterdir()) == []


def test_no_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    opened: Any = None
    with pytest.raises(OutputError, match="cannot keep the inputs' scores"), temporary_chunks(opened):
        pass


def test_chunks_are_whole_runs() -> None:
    assert [temporary_module.whole_runs(*pair) for pair in ((1, 8), (8, 8), (9, 8), (1024, 64))] == [8, 8, 16, 1024]


@given(st.sets(st.integers(0, 2), min_size=1))
def test_wanted_chunks_follow_one_another(source: Source, wanted: set[int]) -> None:
    numbers = sorted(wanted)
    items = WantedItems(Chunks(Path(), PLAN, source, 4, COLUMNS), numbers)
    expected = [item for number in numbers for item in source.items[4 * number : 4 * number + 4]]
    assert list(items) == expected == items[:]
    assert items.end(len(numbers) - 1) == len(items) == len(expected)


def test_joined_batches_are_one(source: Source) -> None:
    one = chunk(source, (0, 1, 2, 3))
    halves = [
        Batch(9, one.items[a:b], np.arange(2), {"z": one.outputs["z"][a:b]}, one.digests[a:b], ())
        for a, b in ((0, 2), (2, 4))
    ]
    back = joined(halves)
    assert (back.start, back.items, back.digests) == (4, one.items, one.digests)
    assert back.readable.tolist() == [0, 1, 2, 3]
    assert back.outputs["z"].tobytes() == one.outputs["z"].tobytes()
