"""Scores wait on disk: what comes back is what was written, and a disk that refuses is one clear error."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest

from scanner.base.errors import OutputError
from scanner.inputs.items import Item
from scanner.inputs.pipeline import Batch
from scanner.inputs.source import open_source
from scanner.scanning import spool as spool_module
from scanner.scanning.spool import ChunkSpool, chunk_spool


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch) -> Path:
    """The folder for temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def items(tmp_path: Path) -> tuple[Item, ...]:
    np.save(tmp_path / "inputs.npy", np.zeros((7, 4, 4, 3), np.uint8))
    return tuple(open_source(tmp_path / "inputs.npy", labels=False).items)


def chunks(items) -> list[Batch]:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(2, 5, 3))
    scores[0, 0] = (np.nan, np.inf, -0.0)
    outputs = {
        "scores": scores,
        "finite": np.array([True, False]),
        "predicted": np.array([2, -1]),
        "loud_rows": np.zeros(0, np.int32),
        "loud_values": generator.random(9).astype(np.float32),
    }
    odd = "detail with \N{RIGHT-TO-LEFT OVERRIDE}, \udcff and\na line"
    return [
        Batch(0, tuple(items[:3]), np.array([0, 2]), outputs, ("aa", None, "cc"), ((items[1], "truncated", odd),)),
        Batch(
            3,
            tuple(items[3:5]),
            np.zeros(0, np.int64),
            {},
            (None, "dd"),
            ((items[3], "missing", ""), (items[4], "not-image", "x")),
        ),
        Batch(5, tuple(items[5:7]), np.array([0, 1]), outputs, ("ee", "ff"), ()),
    ]


def test_chunks_come_back_as_often_as_one_likes(temporary: Path, items) -> None:
    with chunk_spool(items) as spool:
        for batch in chunks(items):
            spool.append(batch)
        for _ in range(2):
            back = list(spool.replay())
            assert len(back) == 3
            for got, expected in zip(back, chunks(items), strict=True):
                assert (got.start, got.items) == (expected.start, expected.items)
                assert (got.digests, got.unreadable) == (expected.digests, expected.unreadable)
                assert got.readable.dtype == np.int64
                assert got.readable.tolist() == expected.readable.tolist()
                assert got.outputs.keys() == expected.outputs.keys()
                for name, array in expected.outputs.items():
                    assert got.outputs[name].dtype == array.dtype
                    assert got.outputs[name].shape == array.shape
                    assert got.outputs[name].tobytes() == array.tobytes()
    assert list(temporary.iterdir()) == []


def test_no_chunk(temporary: Path) -> None:
    with chunk_spool(()) as spool:
        assert list(spool.replay()) == []


def test_nothing_is_left_behind_after_an_error(temporary: Path, items) -> None:
    def fails() -> None:
        with chunk_spool(items) as spool:
            spool.append(chunks(items)[0])
            assert list(temporary.iterdir())
            raise RuntimeError("elsewhere")

    with pytest.raises(RuntimeError, match="elsewhere"):
        fails()
    assert list(temporary.iterdir()) == []


def test_a_full_disk_is_one_error_and_not_that_of_closing(temporary: Path, items) -> None:
    """/dev/full refuses when the buffer is written out, and once more when the file is closed."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    file = Path("/dev/full").open("r+b")  # noqa: SIM115  closing it is what is tested
    spool = ChunkSpool(file, items)
    with pytest.raises(OutputError) as caught:
        spool.append(chunks(items)[0])
    assert "No space left on device" in str(caught.value)
    assert "TMPDIR" in str(caught.value)
    assert caught.value.exit_code == 2
    spool_module._close(file)
    assert file.closed


def test_a_disk_that_cannot_be_read_is_an_error(temporary: Path, items, monkeypatch) -> None:
    def broken(*_args, **_options):
        raise OSError(errno.EIO, "Input/output error")

    with chunk_spool(items) as spool:
        spool.append(chunks(items)[0])
        monkeypatch.setattr(np.lib.format, "read_array", broken)
        with pytest.raises(OutputError, match="Input/output error"):
            list(spool.replay())
    assert list(temporary.iterdir()) == []


def test_no_folder_for_temporary_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(OutputError, match="cannot keep the inputs' scores"), chunk_spool(()):
        pass
