"""Names in bytewise order, however many, also with a text beside each: beyond a bound they are sorted on the disk.

A name and its text are sorted as one record. A byte 1 in a name is followed by a 2 there, and two of them end the name,
so that records are in the order of their names and can be taken apart again.
"""

from __future__ import annotations

import heapq
import itertools
import os
import tempfile
import threading
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import BinaryIO, Final, overload

RUN: Final = 500_000
"""Names that are sorted in memory, about 50 MB of them."""
_BLOCK: Final = 1024
_KEPT: Final = 16
_READ: Final = 2**16
_ONE: Final = b"\1"
_ONE_WITHIN: Final = b"\1\2"
_END: Final = b"\1\1"


def sort_names(names: Iterable[str]) -> Sequence[str]:
    """File names, without NUL, in the order of their bytes.

    Raises:
        OSError: There is no room for them among temporary files.
    """
    source = map(os.fsencode, names)
    first = sorted(itertools.islice(source, RUN))
    rest = sorted(itertools.islice(source, RUN))
    if not rest:
        return [os.fsdecode(name) for name in first]
    with ExitStack() as files:
        runs = [_spilled(first, files), _spilled(rest, files)]
        del first
        while rest := sorted(itertools.islice(source, RUN)):
            runs.append(_spilled(rest, files))
        return SortedNames(heapq.merge(*map(_read, runs)))


def sort_records(records: Iterable[tuple[str, str]]) -> tuple[Sequence[str], Sequence[str]]:
    """File names, each with a text, neither with NUL, in the order of the names' bytes, and of texts under one name.

    Returns:
        The names, and the texts in the same order.

    Raises:
        OSError: There is no room for them among temporary files.
    """
    joined = sort_names(os.fsdecode(_joined(name, text)) for name, text in records)
    if isinstance(joined, SortedNames):
        return _Part(joined, 0), _Part(joined, 1)
    parted = [_parted(record) for record in joined]
    return [name for name, _ in parted], [text for _, text in parted]


def _joined(name: str, text: str) -> bytes:
    return os.fsencode(name).replace(_ONE, _ONE_WITHIN) + _END + os.fsencode(text)


def _parted(record: str) -> tuple[str, str]:
    name, _, text = os.fsencode(record).partition(_END)
    return os.fsdecode(name.replace(_ONE_WITHIN, _ONE)), os.fsdecode(text)


def _spilled(names: list[bytes], files: ExitStack) -> BinaryIO:
    file = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    file.writelines(name + b"\0" for name in names)
    file.seek(0)
    return file


def _read(file: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while data := file.read(_READ):
        *whole, rest = (rest + data).split(b"\0")
        yield from whole


class SortedNames(Sequence[str]):
    """Names in a temporary file without a name. May be asked from several threads at once.

    Args:
        names: In their order.
    """

    def __init__(self, names: Iterable[bytes]) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - as long as this object
        weakref.finalize(self, self._file.close)
        self._starts, self._length = array("q"), 0
        self._kept: OrderedDict[int, list[str]] = OrderedDict()
        self._lock = threading.Lock()
        position = 0
        for name in names:
            if self._length % _BLOCK == 0:
                self._starts.append(position)
            position += self._file.write(name + b"\0")
            self._length += 1
        self._starts.append(position)
        self._file.flush()

    def __len__(self) -> int:
        """Number of names."""
        return self._length

    def __iter__(self) -> Iterator[str]:
        """All of them, in order."""
        for block in range(len(self._starts) - 1):
            yield from self._read(block)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """The name at a position, or those of a slice."""
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(self._length))]
        block, within = divmod(range(self._length)[index], _BLOCK)
        with self._lock:
            if block not in self._kept:
                self._kept[block] = self._read(block)
            self._kept.move_to_end(block)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[block][within]

    def _read(self, block: int) -> list[str]:
        start, end = self._starts[block], self._starts[block + 1]
        data = os.pread(self._file.fileno(), end - start, start)
        return [os.fsdecode(name) for name in data.split(b"\0")[:-1]]


class _Part(Sequence[str]):
    """Names, or texts, of records on the disk."""

    def __init__(self, records: SortedNames, which: int) -> None:
        self._records, self._which = records, which

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[str]:
        return (_parted(record)[self._which] for record in self._records)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [_parted(record)[self._which] for record in self._records[index]]
        return _parted(self._records[index])[self._which]
