"""A small reader of protobuf's wire format, for files that nobody vouches for.

Its work is bounded, nothing is copied but heads of fields and what is asked for, and it is Python, so that no length in
the file can make it read or write where it should not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Final

from scanner.base.errors import ModelError

MAX_FIELDS: Final = 8_000_000
MAX_TEXT: Final = 4096

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes:
        number: Its number.
        wire: How it is written: one of the constants above.
        value: The value of a varint.
        start: Where the content of a length-delimited field begins.
        end: Where the field ends.
    """

    number: int
    wire: int
    value: int
    start: int
    end: int


class WireReader:
    """Walks the messages of a file.

    Args:
        file: Open for reading, and seekable.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._fields = 0

    def fields(self, position: int, end: int) -> Iterator[Field]:
        """The fields of the message between two positions.

        Raises:
            ModelError: It is damaged, or the file has more parts than any network.
        """
        while position < end:
            self._fields += 1
            if self._fields > MAX_FIELDS:
                raise ModelError("the ONNX file has more parts than any network")
            self._file.seek(position)
            head = self._file.read(20)
            key, used = _varint(head)
            number, wire = key >> 3, key & 7
            position += used
            value = 0
            if wire in (VARINT, BYTES):
                value, length = _varint(head[used:])
                position += length
            start = position
            position += {VARINT: 0, FIXED64: 8, BYTES: value, FIXED32: 4}.get(wire, end + 1)
            if position > end or number == 0:
                raise damaged()
            yield Field(number, wire, value, start, position)

    def inside(self, part: Field) -> Iterator[Field]:
        """The fields of a message within a message.

        Raises:
            ModelError: It is none, or damaged.
        """
        if part.wire != BYTES:
            raise damaged()
        return self.fields(part.start, part.end)

    def text(self, part: Field) -> str:
        """Text of a field; more than 4096 bytes are cut.

        Raises:
            ModelError: It is not text.
        """
        if part.wire != BYTES:
            raise damaged()
        self._file.seek(part.start)
        return self._file.read(min(part.end - part.start, MAX_TEXT)).decode("utf-8", "replace")

    def integers(self, part: Field) -> Iterator[int]:
        """Repeated integers: one by one, or packed.

        Raises:
            ModelError: They are none, or more than any shape has.
        """
        if part.wire == VARINT:
            yield part.value
            return
        if part.wire != BYTES or part.end - part.start > MAX_TEXT:
            raise damaged()
        self._file.seek(part.start)
        data, position = self._file.read(part.end - part.start), 0
        while position < len(data):
            value, used = _varint(data[position : position + 10])
            position += used
            yield value


def _varint(data: bytes) -> tuple[int, int]:
    """A protobuf varint and its length."""
    value = 0
    for index, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & (2**64 - 1), index + 1
    raise damaged()


def damaged() -> ModelError:
    """The error of a file that is not what it seems."""
    return ModelError("the ONNX file is damaged: it cannot be parsed")
