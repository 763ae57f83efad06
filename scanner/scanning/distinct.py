"""Many different numbers in bounded memory: beyond a bound they are sorted on the disk."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from scanner.base.errors import OutputError

Numbers = NDArray[np.uint64]

RUN: Final = 2**18
"""Numbers that are held in memory, eight bytes each."""
_LEAST_BLOCK: Final = 64
_BYTES: Final = 8


class DistinctNumbers:
    """Collects whole numbers from 0 to 2^64 - 1 and keeps each once. What is full becomes a sorted run on the disk.

    Args:
        room: Numbers that are held in memory.

    >>> numbers = DistinctNumbers()
    >>> for number in (3, 1, 3):
    ...     numbers.add(number)
    >>> [block.tolist() for block in numbers.ascending()]
    [[1, 3]]
    """

    def __init__(self, room: int = RUN) -> None:
        self._held: Numbers = np.empty(room, np.uint64)
        self._count = 0
        self._runs: list[tuple[int, int]] = []
        self._file: BinaryIO | None = None

    def add(self, number: int) -> None:
        """Take a number.

        Raises:
            OutputError: There is no room for it among temporary files.
        """
        self._held[self._count] = number
        self._count += 1
        if self._count < len(self._held):
            return
        # Where most were there already, the others stay in memory.
        if len(self._compact()) > len(self._held) // 2:
            self._spill()

    def ascending(self) -> Iterator[Numbers]:
        """All of them so far in ascending order, each once, in blocks of bounded size."""
        size = max(_LEAST_BLOCK, len(self._held) // (len(self._runs) + 1))
        runs = [_Run(self._compact(), iter(()))]
        runs += [_Run(np.empty(0, np.uint64), self._blocks(*place, size)) for place in self._runs]
        while runs := [run for run in runs if run.fill()]:
            # Whatever is not larger than this is in the blocks that are held: nothing smaller comes after it.
            limit = min(run.block[-1] for run in runs)
            yield np.unique(np.concatenate([run.take(limit) for run in runs]))

    def _compact(self) -> Numbers:
        kept = np.unique(self._held[: self._count])
        self._held[: len(kept)], self._count = kept, len(kept)
        return kept

    def _spill(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - as long as this object
                weakref.finalize(self, self._file.close)
            start = self._file.seek(0, os.SEEK_END)
            data = memoryview(self._held[: self._count].tobytes())
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise OutputError(
                f"cannot keep the inputs' digests ({error.strerror or type(error).__name__})",
                where="the folder for temporary files",
                hint="Make room there, or set TMPDIR to another folder",
            ) from error
        self._runs.append((start, self._count))
        self._count = 0

    def _blocks(self, start: int, count: int, size: int) -> Iterator[Numbers]:
        assert self._file is not None
        for first in range(0, count, size):
            wanted = min(size, count - first)
            yield np.frombuffer(os.pread(self._file.fileno(), _BYTES * wanted, start + _BYTES * first), np.uint64)


class _Run:
    """Ascending numbers, a block of which is held.

    Args:
        block: The first of them.
        rest: The blocks after it.
    """

    def __init__(self, block: Numbers, rest: Iterator[Numbers]) -> None:
        self.block, self._rest = block, rest

    def fill(self) -> bool:
        """Whether anything is left; then some of it is held."""
        while not len(self.block) and (more := next(self._rest, None)) is not None:
            self.block = more
        return len(self.block) > 0

    def take(self, limit: np.uint64) -> Numbers:
        """Those that are not larger, which are no longer here afterwards."""
        end = int(np.searchsorted(self.block, limit, side="right"))
        taken, self.block = self.block[:end], self.block[end:]
        return taken
