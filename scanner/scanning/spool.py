"""Judged chunks on disk, between the pass through the network and the end of the scan.

What an input's own units say is known once all inputs were seen. Until then its scores wait in a file, so that memory
does not grow with the inputs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from scanner.base.errors import OutputError
from scanner.base.leftovers import scratch_folder
from scanner.inputs.items import Item
from scanner.inputs.pipeline import Batch


class ChunkSpool:
    """Takes chunks in order, and gives them back in the same order as often as one likes.

    Args:
        file: An empty file, open for reading and writing.
        items: The items of the source.
    """

    def __init__(self, file: BinaryIO, items: Sequence[Item]) -> None:
        self._file, self._items = file, items
        self._count = 0

    def append(self, batch: Batch) -> None:
        """Write a chunk.

        Raises:
            OutputError: If it cannot be written, as where the disk is full.
        """
        told = {
            "start": batch.start,
            "items": len(batch.items),
            "digests": batch.digests,
            "unreadable": [(item.index, reason, detail) for item, reason, detail in batch.unreadable],
            "outputs": list(batch.outputs),
        }
        with _reported():
            self._file.write(json.dumps(told).encode("ascii") + b"\n")
            for array in (batch.readable, *batch.outputs.values()):
                np.lib.format.write_array(self._file, np.ascontiguousarray(array), allow_pickle=False)
            # Now, so that a full disk is known before the next chunk is computed.
            self._file.flush()
        self._count += 1

    def replay(self) -> Iterator[Batch]:
        """All chunks, in order.

        Raises:
            OutputError: If they cannot be read back.
        """
        with _reported():
            self._file.seek(0)
        for _ in range(self._count):
            with _reported():
                told = json.loads(self._file.readline())
                readable, *outputs = (self._array() for _ in range(1 + len(told["outputs"])))
            start = told["start"]
            yield Batch(
                start=start,
                items=tuple(self._items[start : start + told["items"]]),
                readable=readable,
                outputs=dict(zip(told["outputs"], outputs, strict=True)),
                digests=tuple(told["digests"]),
                unreadable=tuple((self._items[index], reason, detail) for index, reason, detail in told["unreadable"]),
            )

    def _array(self) -> NDArray[Any]:
        array: NDArray[Any] = np.lib.format.read_array(self._file, allow_pickle=False)
        return array


@contextmanager
def chunk_spool(items: Sequence[Item]) -> Iterator[ChunkSpool]:
    """A spool in a temporary folder, which is gone afterwards.

    Raises:
        OutputError: If there can be none.
    """
    with ExitStack() as stack:
        with _reported():
            folder = stack.enter_context(scratch_folder())
            file = (Path(folder) / "chunks").open("w+b")
        stack.callback(_close, file)
        yield ChunkSpool(file, items)


def _close(file: BinaryIO) -> None:
    # What a full disk did not take is still in the buffer. It was reported, and nobody wants it any more.
    with suppress(OSError):
        file.close()


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot keep the inputs' scores ({error.strerror or type(error).__name__})",
            where="the folder for temporary files",
            hint="Make room there, or set TMPDIR to another folder",
        ) from error
