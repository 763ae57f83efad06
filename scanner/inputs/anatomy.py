"""How many parts an image file is made of, counted before a decoder walks through them.

Decoders bound the pixels and loop over everything else: comments, chunks, strips, scans of a progressive picture. A
file of a kilobyte to a megabyte can keep one busy for minutes, or make it take gigabytes. Bounds here are far above
what any camera or editor writes. What is damaged is the decoder's to say: the walks stop where they cannot go on.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Final

from scanner.inputs.items import MAX_PIXELS, UnreadableInput

MAX_SCANS: Final = 100
MAX_SEGMENTS: Final = 2_000
MAX_FILLERS: Final = 10_000
MAX_CHUNKS: Final = 100_000
MAX_EXTRAS: Final = 2_000
MAX_SUB_BLOCKS: Final = 20_000
MAX_ENTRIES: Final = 2_000
MAX_VALUES: Final = 200_000
MAX_HEADER: Final = 65_536
MAX_RLE_PIXELS: Final = 4_000_000
MAX_PADDED: Final = 2 * MAX_PIXELS

_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xDA)})
_TIFF_BYTES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_TIFF_OF_BYTES: Final = frozenset({1, 2, 6, 7})
_TIFF_WHOLE: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_TIFF_STORED: Final = frozenset({279, 325})
"""Tags of the bytes that each strip or tile takes in the file."""
_TIFF_TILES: Final = ((256, 322), (257, 323))
"""Tags of the width and length of the image, each with that of its tiles."""
_TIFF_SIDES: Final = tuple(tag for pair in _TIFF_TILES for tag in pair)


def require_few_parts(data: bytes) -> None:
    """Refuse an image of absurdly many parts.

    Args:
        data: The encoded file.

    Raises:
        UnreadableInput: With the reason ``too-complex``.
    """
    for magic, count in _BY_MAGIC:
        if data.startswith(magic):
            count(data)
            return


def _too_complex(detail: str) -> UnreadableInput:
    return UnreadableInput("too-complex", detail)


def _jpeg(data: bytes) -> None:
    # In coded data, 0xFF is followed by zero or a restart marker: these are scans, those of previews included.
    scans = data.count(b"\xff\xda")
    if scans > MAX_SCANS:
        raise _too_complex(f"a JPEG of {scans} scans, at most {MAX_SCANS} are read")
    place, segments, fillers = 2, 0, 0
    while place + 4 <= len(data):
        marker = data[place + 1]
        if data[place] != 0xFF or marker == 0xDA:
            return
        if marker in (0x00, 0xFF):
            place, fillers = place + 1, fillers + 1
        elif marker in _WITHOUT_LENGTH:
            place, segments = place + 2, segments + 1
        else:
            place, segments = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big"), segments + 1
        if segments > MAX_SEGMENTS or fillers > MAX_FILLERS:
            raise _too_complex(f"a JPEG of more than {MAX_SEGMENTS} segments or {MAX_FILLERS} filling bytes")


def _png(data: bytes) -> None:
    place, chunks, extras = 8, 0, 0
    while place + 8 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        if kind == b"IEND":
            return
        chunks += 1
        extras += kind != b"IDAT"
        if chunks > MAX_CHUNKS or extras > MAX_EXTRAS:
            raise _too_complex(f"a PNG of more than {MAX_CHUNKS} chunks, or {MAX_EXTRAS} that hold no pixels")
        place += 12 + length


def _gif(data: bytes) -> None:
    place = 13 + _colours(data[10:11])
    budget = [MAX_SUB_BLOCKS]
    # Of pixels, a sub-block holds up to 255 bytes; encoders write them full.
    pixels = [MAX_SUB_BLOCKS + len(data) // 64]
    while place < len(data):
        kind = data[place]
        if kind == 0x21:
            place = _sub_blocks(data, place + 2, budget)
        elif kind == 0x2C:
            place = _sub_blocks(data, place + 11 + _colours(data[place + 9 : place + 10]), pixels)
        elif kind == 0x3B:
            return
        else:
            place += 1
            budget[0] -= 1
            if budget[0] < 0:
                raise _too_complex("a GIF with much that is no block")


def _colours(flags: bytes) -> int:
    """Bytes of the colour table that follows, as its flags say."""
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _sub_blocks(data: bytes, place: int, budget: list[int]) -> int:
    """Where the sub-blocks from a place on end; each takes one of a budget, and so does their end."""
    while True:
        budget[0] -= 1
        if budget[0] < 0:
            raise _too_complex(f"a GIF of more than {MAX_SUB_BLOCKS} blocks")
        if place >= len(data) or data[place] == 0:
            return place + 1
        place += 1 + data[place]


def _tiff(data: bytes) -> None:
    order = "<" if data[:1] == b"I" else ">"
    big = 43 in data[2:4]
    # Position of the directory, number of its entries, and an entry: of 32 and of 64 bits.
    formats = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
    where, count, entry = (struct.Struct(order + form) for form in formats)
    try:
        (place,) = where.unpack_from(data, 8 if big else 4)
        (entries,) = count.unpack_from(data, place)
        if entries > MAX_ENTRIES:
            raise _too_complex(f"a TIFF of {entries} entries, at most {MAX_ENTRIES} are read")
        total, stored, sides = 0, 0, dict.fromkeys(_TIFF_SIDES, 1)
        for number in range(entries):
            at = place + count.size + number * entry.size
            tag, kind, values, _ = entry.unpack_from(data, at)
            if kind in _TIFF_BYTES and kind not in _TIFF_OF_BYTES and values > MAX_VALUES:
                raise _too_complex(f"a TIFF entry of {values} numbers or strips, at most {MAX_VALUES} are read")
            total += _TIFF_BYTES.get(kind, 0) * values
            if tag in _TIFF_STORED:
                stored += sum(_tiff_numbers(data, at, order, big=big))
            elif tag in sides:
                sides[tag] = max(sides[tag], *_tiff_numbers(data, at, order, big=big)[:1], 1)
    except struct.error:
        return
    if total > 2 * len(data) + MAX_HEADER:
        raise _too_complex("a TIFF whose entries are larger than the file")
    if stored > 2 * len(data) + MAX_HEADER:
        raise _too_complex("a TIFF whose strips or tiles are larger than the file, as they overlap")
    padded = math.prod(-(-sides[whole] // sides[tile]) * sides[tile] for whole, tile in _TIFF_TILES)
    if padded > MAX_PADDED:
        raise _too_complex(f"a TIFF with tiles of {padded} pixels in all, at most {MAX_PADDED} are read")


def _tiff_numbers(data: bytes, at: int, order: str, *, big: bool) -> tuple[int, ...]:
    """The whole numbers of the entry at a place, which lie in it where they fit.

    Raises:
        struct.error: The file ends before.
    """
    kind, count = struct.unpack_from(order + ("HQ" if big else "HI"), data, at + 2)
    code, room = _TIFF_WHOLE.get(kind), 8 if big else 4
    if code is None:
        return ()
    start = at + (12 if big else 8)
    if struct.calcsize(f"{order}{count}{code}") > room:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, start)
    return struct.unpack_from(f"{order}{count}{code}", data, start)


def _ppm(data: bytes) -> None:
    """Sizes come within the first bytes, whatever comments there are."""
    tokens, place, end = 0, 2, min(len(data), MAX_HEADER)
    while place < end:
        byte = data[place : place + 1]
        if byte == b"#":
            line = data.find(b"\n", place, end)
            place = end if line < 0 else line
        elif byte.isspace():
            place += 1
        else:
            tokens += 1
            if tokens == 3 or (tokens == 2 and data[1:2] in b"14"):
                return
            while place < end and not data[place : place + 1].isspace():
                place += 1
    if len(data) > MAX_HEADER:
        raise _too_complex(f"a PPM without its size in the first {MAX_HEADER} bytes")


def _bmp(data: bytes) -> None:
    if len(data) < 34 or int.from_bytes(data[14:18], "little") < 40 or data[30:34] not in (b"\1\0\0\0", b"\2\0\0\0"):
        return
    width, height = struct.unpack_from("<ii", data, 18)
    if abs(width * height) > MAX_RLE_PIXELS:
        raise _too_complex(f"a run-length coded bitmap of more than {MAX_RLE_PIXELS} pixels")


_BY_MAGIC: Final[tuple[tuple[bytes, Callable[[bytes], None]], ...]] = (
    (b"\xff\xd8", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"GIF8", _gif),
    (b"II", _tiff),
    (b"MM", _tiff),
    (b"BM", _bmp),
    (b"P", _ppm),
)
