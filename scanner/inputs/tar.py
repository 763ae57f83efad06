"""Images in a tar archive, also as WebDataset writes them: ``0001.jpg`` beside ``0001.cls``. Nothing is unpacked.

Headers are read here and not by Python's module, which believes their sizes: names are bounded, links and special files
are no images, and every image is read from its place in the file. A gzip-compressed archive is first unpacked, within
bounds, into a temporary file that has no name.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scanner.base.errors import SourceError
from scanner.inputs.archive import Member
from scanner.inputs.files import MAX_FILE_BYTES, open_regular
from scanner.inputs.gzipped import unpacked
from scanner.inputs.items import UnreadableInput

_MAX_MEMBERS: Final = 5_000_000
_BLOCK: Final = 512
_MAX_NAME: Final = 64 * 2**10
_MAX_DIGITS: Final = 9
_REGULAR: Final = (b"0", b"\0", b"7")


@dataclass(frozen=True)
class _Place:
    offset: int
    size: int


class TarReader:
    """Lists and reads the regular files of a tar archive.

    Args:
        path: The archive.

    Raises:
        SourceError: It is damaged, or too large.
    """

    def __init__(self, path: Path) -> None:
        try:
            descriptor = open_regular(path)
        except UnreadableInput as error:
            raise SourceError(f"cannot be opened ({error.detail})", where=str(path)) from None
        if os.pread(descriptor, 2, 0) == b"\x1f\x8b":
            descriptor = unpacked(descriptor, path)
        weakref.finalize(self, os.close, descriptor)
        self._descriptor = descriptor
        self._places: dict[str, _Place] = {}
        for name, place in _headers(descriptor, path):
            self._places[name] = place  # as tar itself: the last of a name counts
        self.members = [Member(name, place.size) for name, place in self._places.items()]

    def read(self, name: str) -> bytes:
        """The bytes of a member.

        Raises:
            UnreadableInput: It is empty, too large or cut off.
        """
        place = self._places[name]
        if place.size > MAX_FILE_BYTES:
            raise UnreadableInput("too-large", f"{place.size} bytes, the limit is {MAX_FILE_BYTES}")
        data = os.pread(self._descriptor, place.size, place.offset)
        if len(data) != place.size:
            raise UnreadableInput("truncated", "the archive ends within it")
        if not data:
            raise UnreadableInput("empty", "the file has no bytes")
        return data


def _headers(descriptor: int, path: Path) -> Iterator[tuple[str, _Place]]:
    size = os.fstat(descriptor).st_size
    position, long_name, count = 0, "", 0
    while position + _BLOCK <= size:
        header = os.pread(descriptor, _BLOCK, position)
        if not header.strip(b"\0"):
            return
        count += 1
        length = _number(header[124:136], path)
        if not _is_header(header) or count > _MAX_MEMBERS:
            raise SourceError("is a damaged tar archive", where=str(path), hint="Pack or download it again")
        start, kind = position + _BLOCK, header[156:157]
        position = start + -(-length // _BLOCK) * _BLOCK
        if kind in (b"L", b"x"):
            long_name = _long_name(os.pread(descriptor, min(length, _MAX_NAME), start), kind) or long_name
            continue
        if kind in _REGULAR:
            yield long_name or _name(header), _Place(start, length)
        if kind != b"g":
            long_name = ""


def _is_header(header: bytes) -> bool:
    """Whether the sum of its bytes is the one that it states, its field counted as blanks."""
    return _octal(header[148:156]) == sum(header) - sum(header[148:156]) + 8 * 32


def _number(field: bytes, path: Path) -> int:
    """Octal digits, or a big-endian integer behind a set bit, which is none below zero."""
    number = _octal(field)
    if field[0] & 0x80 and not field[0] & 0x40:
        number = int.from_bytes(bytes((field[0] & 0x3F,)) + field[1:], "big")
    if number is None:
        raise SourceError("is a damaged tar archive", where=str(path), hint="Pack or download it again")
    return number


def _octal(field: bytes) -> int | None:
    """Digits and nothing else: Python's own conversion takes signs, with which a walk would go backwards."""
    digits = field.strip(b" \0") or b"0"
    return int(digits, 8) if digits.isdigit() and not {0x38, 0x39} & set(digits) else None


def _name(header: bytes) -> str:
    name = header[:100].rstrip(b"\0")
    prefix = header[345:500].rstrip(b"\0") if header[257:262] == b"ustar" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "surrogateescape")


def _long_name(data: bytes, kind: bytes) -> str:
    """Of GNU's own entry, or out of the records ``LENGTH KEY=VALUE`` of the standard's."""
    if kind == b"L":
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    while data:
        digits, _, _ = data.partition(b" ")
        if not digits.isdigit() or len(digits) > _MAX_DIGITS or not 0 < (length := int(digits)) <= len(data):
            break
        record, data = data[len(digits) + 1 : length], data[length:]
        key, _, value = record.rstrip(b"\n").partition(b"=")
        if key == b"path":
            return value.decode("utf-8", "surrogateescape")
    return ""
