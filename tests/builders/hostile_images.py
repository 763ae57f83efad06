"""Hostile images that are small and take long: many parts, much work, nothing to see."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile_case import SCAN, Case
from PIL import Image

MANY = 1_000_000


def _encoded(form: str, size: tuple[int, int] = (28, 28), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, 90).save(buffer, form, **options)
    return buffer.getvalue()


def jpeg_scans(count: int, size: tuple[int, int] = (28, 28)) -> bytes:
    """A progressive JPEG whose last scan is there so many times."""
    whole = _encoded("JPEG", size, progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * count + whole[-2:]


def jpeg_segments(count: int, filler: bytes = b"\xff\xfe\0\2") -> bytes:
    whole = _encoded("JPEG")
    return whole[:2] + filler * count + whole[2:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_chunks(count: int, kind: bytes = b"aaAa", body: bytes = b"") -> bytes:
    whole = _encoded("PNG")
    return whole[:33] + _chunk(kind, body) * count + whole[33:]


def png_pixels_in_pieces(size: int = 4) -> bytes:
    """Every chunk holds one byte of pixels; those after the end of the data are empty."""
    pixels = zlib.compress(bytes(28 * 29))
    chunks = b"".join(_chunk(b"IDAT", pixels[i : i + 1]) for i in range(len(pixels))) + _chunk(b"IDAT", b"") * 150_000
    header = struct.pack(">IIBBBBB", 28, 28, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + chunks + _chunk(b"IEND", b"")


def gif_comments(count: int, blocks: int) -> bytes:
    """So many comments of so many blocks, before the picture or behind it."""
    return (b"\x21\xfe" + b"\1x" * blocks + b"\0") * count


def gif(before: bytes = b"", after: bytes = b"") -> bytes:
    whole = _encoded("GIF")
    start = 13 + 3 * 2 ** ((whole[10] & 7) + 1)
    return whole[:start] + before + whole[start:-1] + after + whole[-1:]


def gif_pixels_in_pieces(count: int) -> bytes:
    head = struct.pack("<6sHHBBB", b"GIF87a", 28, 28, 0x80, 0, 0) + bytes(6)
    return head + struct.pack("<BHHHHB", 0x2C, 0, 0, 28, 28, 0) + b"\2" + b"\1\0" * count + b"\0;"


def tiff(entries: list[tuple[int, int, int, int]], rest: bytes = b"", *, big: bool = False) -> bytes:
    """A directory of (tag, type, count, value), at the start of the file."""
    if big:
        directory = struct.pack("<Q", len(entries)) + b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
        return b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + directory + bytes(8) + rest
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + rest


def tiff_strips(count: int, *, big: bool = False) -> bytes:
    entries = [(256, 4, 1, 28), (257, 4, 1, 28), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, count, 200), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, 200)]
    return tiff(entries, bytes(4 * count + 400), big=big)


def tiff_of(entries: list[tuple[int, str, list[int | None]]], pixels: bytes) -> bytes:
    """Of entries of (tag, "H" or "I", values), in order; None is where the pixels lie, which come last."""
    start = 8 + 2 + 12 * len(entries) + 4
    sizes = [struct.calcsize(f"<{len(values)}{code}") for _, code, values in entries]
    end = start + sum(size for size in sizes if size > 4)
    directory, rest = struct.pack("<H", len(entries)), b""
    for tag, code, values in entries:
        packed = struct.pack(f"<{len(values)}{code}", *(end if value is None else value for value in values))
        directory += struct.pack("<HHI", tag, {"H": 3, "I": 4}[code], len(values))
        directory += packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", start + len(rest))
        rest += packed if len(packed) > 4 else b""
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + rest + pixels


def tiff_shared_strips(count: int, blocks: int) -> bytes:
    """Every row is the same strip, which begins with so many empty blocks of a compressed stream."""
    row = zlib.compress(bytes(28))
    strip = row[:2] + b"\0\0\0\xff\xff" * blocks + row[2:]
    plain: list[tuple[int, str, list[int | None]]] = [(256, "I", [28]), (257, "I", [count]), (258, "H", [8])]
    plain += [(259, "H", [8]), (262, "H", [1]), (273, "I", [None] * count), (277, "H", [1]), (278, "I", [1])]
    return tiff_of([*plain, (279, "I", [len(strip)] * count)], strip)


def tiff_tiles(size: tuple[int, int], tile: tuple[int, int]) -> bytes:
    """An image of a width and length in tiles of a width and length, of one compressed stream that they all share."""
    pixels = zlib.compress(bytes(tile[0] * tile[1]))
    tiles = -(-size[0] // tile[0]) * -(-size[1] // tile[1])
    plain: list[tuple[int, str, list[int | None]]] = [(256, "I", [size[0]]), (257, "I", [size[1]]), (258, "H", [8])]
    plain += [(259, "H", [8]), (262, "H", [1]), (277, "H", [1]), (322, "I", [tile[0]]), (323, "I", [tile[1]])]
    return tiff_of([*plain, (324, "I", [None] * tiles), (325, "I", [len(pixels) // tiles] * tiles)], pixels)


def bmp_rle(side: int, kind: int = 1) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8 if kind == 1 else 4, kind, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 2100, 0, 0, 54 + 1024) + head + bytes(1024) + bytes(2) * 512


def slow_images() -> Iterator[Case]:
    files: dict[str, tuple[str, Callable[[], bytes], str]] = {
        "jpeg-scans": ("a.jpg", lambda: jpeg_scans(3_000), "too-complex"),
        "jpeg-scans-large": ("a.jpg", lambda: jpeg_scans(3_000, (2_000, 2_000)), "too-complex"),
        "jpeg-comments": ("a.jpg", lambda: jpeg_segments(MANY), "too-complex"),
        "jpeg-exif": ("a.jpg", lambda: jpeg_segments(MANY, b"\xff\xe1\0\x08Exif\0\0"), "too-complex"),
        "jpeg-filling": ("a.jpg", lambda: jpeg_segments(8 * MANY, b"\xff"), "too-complex"),
        "jpeg-restarts": ("a.jpg", lambda: jpeg_segments(MANY, b"\xff\xd0"), "too-complex"),
        "png-empty-chunks": ("a.png", lambda: png_chunks(4 * MANY), "too-complex"),
        "png-texts": ("a.png", lambda: png_chunks(MANY // 10, b"tEXt", b"a\0b"), "too-complex"),
        "png-compressed-texts": (
            "a.png",
            lambda: png_chunks(3_000, b"zTXt", b"a\0\0" + zlib.compress(bytes(MANY))),
            "too-complex",
        ),
        "png-profiles": (
            "a.png",
            lambda: png_chunks(MANY // 10, b"iCCP", b"a\0\0" + zlib.compress(b"x")),
            "too-complex",
        ),
        "png-pieces": ("a.png", png_pixels_in_pieces, "too-complex"),
        "png-fixed-size": ("a.png", lambda: _encoded("PNG", (7_000, 7_000)), "bad-shape"),
        "gif-comments": ("a.gif", lambda: gif(gif_comments(MANY, 1)), "too-complex"),
        "gif-comment-blocks": ("a.gif", lambda: gif(gif_comments(1, 4 * MANY)), "too-complex"),
        "gif-comments-behind": ("a.gif", lambda: gif(b"", gif_comments(MANY, 1)), "too-complex"),
        "gif-garbage": ("a.gif", lambda: gif(bytes(4 * MANY)), "too-complex"),
        "gif-pieces": ("a.gif", lambda: gif_pixels_in_pieces(4 * MANY), "too-complex"),
        "tiff-strips": ("a.tif", lambda: tiff_strips(4 * MANY), "too-complex"),
        "tiff-strips-big": ("a.tif", lambda: tiff_strips(4 * MANY, big=True), "too-complex"),
        "tiff-entries": ("a.tif", lambda: tiff([(65_000, 4, 1, 0)] * 60_000), "too-complex"),
        "tiff-entries-big": ("a.tif", lambda: tiff([(65_000, 4, 1, 0)] * MANY, big=True), "too-complex"),
        "tiff-overlapping": (
            "a.tif",
            lambda: tiff([(tag, 1, 4 * MANY, 0) for tag in range(1_500)], bytes(4 * MANY)),
            "too-complex",
        ),
        "tiff-rationals": ("a.tif", lambda: tiff([(282, 5, 2 * MANY, 0)], bytes(16 * MANY)), "too-complex"),
        "tiff-shared-strips": ("a.tif", lambda: tiff_shared_strips(28, MANY // 10), "too-complex"),
        "tiff-large-tiles": ("a.tif", lambda: tiff_tiles((28, 28), (16_000, 16_000)), "too-complex"),
        "tiff-tall-tiles": ("a.tif", lambda: tiff_tiles((28_000, 28), (16, 160_000)), "too-complex"),
        "ppm-comment": (
            "a.ppm",
            lambda: b"P6\n#" + b"x" * 20 * MANY + b"\n28 28 255\n" + bytes(28 * 28 * 3),
            "too-complex",
        ),
        "ppm-comments": ("a.ppm", lambda: b"P6\n" + b"#\n" * 8 * MANY + b"28 28 255\n", "too-complex"),
        "ppm-space": ("a.ppm", lambda: b"P5" + b" " * 20 * MANY + b"28 28 255\n" + bytes(28 * 28), "too-complex"),
        "bmp-rle8": ("a.bmp", lambda: bmp_rle(7_000), "too-complex"),
        "bmp-rle4": ("a.bmp", lambda: bmp_rle(7_000, 2), "too-complex"),
    }
    for name, (file, data, says) in files.items():

        def make(folder: Path, _canary: Path, _good: Path, file: str = file, data: Callable[[], bytes] = data) -> Path:
            (folder / "in").mkdir()
            (folder / "in" / file).write_bytes(data())
            return folder / "in"

        yield Case(f"slow-{name}", make, SCAN, 3, says)
