"""Chunks of a scan that nobody is going to resume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from scanner.base.errors import OutputError
from scanner.base.leftovers import scratch_folder
from scanner.scanning.chunks.columns import Columns
from scanner.scanning.chunks.folder import Chunks
from scanner.scanning.stages import OpenedScan

CHUNK_SIZE: Final = 1024
"""Inputs of a chunk, about: what a killed process loses at most, and few enough bytes to be held as a whole."""
_NO_PLAN: Final = "0" * 64


def whole_runs(size: int, run: int) -> int:
    """The size of chunks that are a whole number of runs of the network, so that its batches are the same in each.

    >>> whole_runs(1000, 64)
    1024
    """
    return -(-size // run) * run


@contextmanager
def temporary_chunks(opened: OpenedScan) -> Iterator[Chunks]:
    """Chunks in a temporary folder, which is gone afterwards.

    Raises:
        OutputError: If there can be none.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder())
        except OSError as error:
            raise OutputError(
                f"cannot keep the inputs' scores ({error.strerror or type(error).__name__})",
                where="the folder for temporary files",
                hint="Make room there, or set TMPDIR to another folder",
            ) from error
        size = whole_runs(CHUNK_SIZE, opened.scorer.chunk)
        yield Chunks(folder, _NO_PLAN, opened.source, size, Columns.of(opened), temporary=True)
