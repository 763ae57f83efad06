"""Hostile archives and tables of images: sizes below zero, records that never end, bombs."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile_case import SCAN, Case
from PIL import Image

_END = bytes(1024)


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (28, 28), 90).save(buffer, "PNG")
    return buffer.getvalue()


def tar_header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A header whose sum is right, whatever its size says."""
    header = bytearray(512)
    header[: len(name)], header[124 : 124 + len(size)], header[156:157] = name, size, kind
    header[257:263], header[148:156] = b"ustar\0", b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def tar_member(name: bytes, data: bytes, kind: bytes = b"0") -> bytes:
    return tar_header(name, b"%011o\0" % len(data), kind) + data + bytes(-len(data) % 512)


def gzip_of_zeros(before: bytes, mebibytes: int) -> bytes:
    """Some bytes, then so many MiB of zeros, which are compressed once."""
    unit = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = unit.compress(bytes(2**20)) + unit.flush(zlib.Z_FULL_FLUSH)
    start = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = start.compress(before) + start.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\3" + head + block * mebibytes + b"\3\0" + bytes(8)


def _tars() -> Iterator[tuple[str, bytes, int, str]]:
    good = tar_member(b"a.png", _png())
    damaged = "damaged tar"
    for name, size in (("octal", b"-0000001000\0"), ("short", b"-1\0"), ("binary", b"\xff" * 12), ("plus", b"+1\0")):
        for what, kind in (("file", b"0"), ("folder", b"5"), ("name", b"L"), ("record", b"x")):
            yield f"size-{name}-{what}", good + tar_header(b"b.png", size, kind) + good + _END, 2, damaged
    yield "size-score", good + tar_header(b"b.png", b"1_0\0") + good + _END, 2, damaged
    yield "size-of-all", good + tar_header(b"b.png", b"\x80" + b"\xff" * 11) + _END, 3, "scanned"
    for name, record in {
        "digits": b"0" * 8 + b"5" + b"0" * 5000 + b" path=x\n",
        "large": b"99999999999999999999 path=x\n",
        "zero": b"0 path=x\n",
        "no-number": b"\xb2 path=x\n",
        "inside": b"2 path=x\n",
    }.items():
        yield f"record-{name}", tar_member(b"r", record, b"x") + good + _END, 3, "scanned"
    yield "name-escape", tar_member(b"n", b"\x1b[2J" + b"a" * 60_000 + b".png", b"L") + good + _END, 3, "scanned"
    yield "sum-signed", good + tar_header(b"b.png", b"0\0")[:148] + b"-0001\0  " + bytes(356) + _END, 2, damaged


def _zip_of(members: list[tuple[str, int, int]], data: bytes) -> bytes:
    """An archive whose members, of name, packed and unpacked size, all are the same bytes at its start."""
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 8, 0, 0, 0, len(data), 0, 1, 0) + b"a" + data
    central = b"".join(
        struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, 0, 8, 0, 0, 0, packed, size, len(name), 0, 0, 0, 0, 0, 0)
        + name.encode()
        for name, packed, size in members
    )
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, len(members), len(members), len(central), len(local), 0)
    return local + central + end


def _zips() -> Iterator[tuple[str, bytes, int, str]]:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(bytes(2**24)) + packer.flush()
    names = [f"{index}.png" for index in range(1000)]
    yield "overlap", _zip_of([(name, len(data), 2**24) for name in names], data), 2, "members overlap"
    yield "ratio", _zip_of([(name, 1, 2**24) for name in names], data), 2, "decompression bomb"
    yield "sizes", _zip_of([("a.png", len(data), 2**32 - 2)], data), 2, "decompression bomb"


def _tables() -> Iterator[tuple[str, Callable[[], bytes], int, str]]:
    """Written by pyarrow, without which none is read."""
    if importlib.util.find_spec("pyarrow") is None:
        return
    yield "rows-of-nothing", lambda: _parquet(10_000_000, None), 2, "hold no images"
    yield "one-image-in-all-rows", lambda: _parquet(1000, _png() + bytes(2**24)), 3, "times the file's size"
    yield "compressed", _arrow_bomb, 2, "times its size"


def _parquet(rows: int, image: bytes | None) -> bytes:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    images = arrow.nulls(rows, arrow.binary())
    if image is not None:
        index = arrow.array([0] * rows, arrow.int32())
        images = arrow.DictionaryArray.from_arrays(index, arrow.array([image], arrow.binary()))
    sink = arrow.BufferOutputStream()
    columns = {
        "image": images,
        "name": arrow.array([f"{row:08x}" for row in range(rows if image else 0)] or [""] * rows),
    }
    parquet.write_table(arrow.table(columns), sink, compression="zstd")
    return bytes(sink.getvalue())


def _arrow_bomb() -> bytes:
    arrow = importlib.import_module("pyarrow")
    batch = arrow.record_batch({"image": arrow.array([bytes(2**20)] * 100, arrow.binary())})
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, batch.schema, options=arrow.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for _ in range(11):
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def archives_of_images() -> Iterator[Case]:
    files: dict[str, tuple[str, Callable[[], bytes], int, str]] = {
        f"tar-{name}": ("a.tar", lambda data=data: data, code, says)  # type: ignore[misc]
        for name, data, code, says in _tars()
    }
    files |= {
        f"zip-{name}": ("a.zip", lambda data=data: data, code, says)  # type: ignore[misc]
        for name, data, code, says in _zips()
    }
    files |= {
        f"table-{name}": ("a.arrow" if name == "compressed" else "a.parquet", data, code, says)
        for name, data, code, says in _tables()
    }
    many = zlib.compressobj(9, zlib.DEFLATED, 31)
    empty = many.flush()
    files |= {
        "gzip-bomb": ("a.tar.gz", lambda: gzip_of_zeros(tar_member(b"a.png", _png()), 1100), 2, "decompression bomb"),
        "gzip-parts": ("a.tar.gz", lambda: empty * 400_000, 2, "absurdly many parts"),
        "gzip-cut": ("a.tar.gz", lambda: gzip_of_zeros(tar_member(b"a.png", _png()), 4)[:-2000], 2, "damaged gzip"),
        "gzip-behind": (
            "a.tar.gz",
            lambda: gzip.compress(tar_member(b"a.png", _png()) + _END) + b"x",
            2,
            "damaged gzip",
        ),
    }
    for name, (file, data, code, says) in files.items():

        def make(folder: Path, _c: Path, _g: Path, file: str = file, data: Callable[[], bytes] = data) -> Path:
            (folder / file).write_bytes(data())
            return folder / file

        yield Case(f"archive-{name}", make, SCAN, code, says)
