"""The chunks of one scan in a folder, a file each: which are done, writing one, and reading all of them in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from scanner.base.atomic import atomic_writer
from scanner.base.errors import OutputError, UsageError
from scanner.base.text import printable
from scanner.inputs.files import open_regular, read_descriptor
from scanner.inputs.items import Item, Source, UnreadableInput
from scanner.inputs.pipeline import Batch
from scanner.scanning.chunks.columns import Columns, UnsoundChunk
from scanner.scanning.chunks.file import MAX_BYTES, Place, chunk_bytes, parse_chunk

NOT_SCANNED: Final = "not-scanned"
_NAME: Final = re.compile(r"([0-9]{7})\.chunk")
_DETAIL: Final = "its part of the scan is missing"


@dataclass(frozen=True)
class Chunks:
    """The chunks of one scan.

    Attributes:
        folder: Where they are.
        plan: SHA-256 of the plan that they belong to.
        source: The inputs.
        size: Inputs of a chunk; the last one has what is left.
        columns: What they hold of an input.
        temporary: Whether the folder is gone after the scan.
    """

    folder: Path
    plan: str
    source: Source
    size: int
    columns: Columns
    temporary: bool = False

    def __len__(self) -> int:
        """Number of chunks, done or not."""
        return -(-len(self.source.items) // self.size)

    def items(self, number: int) -> list[Item]:
        """The inputs of a chunk."""
        return list(self.source.items[number * self.size : (number + 1) * self.size])

    def done(self) -> list[int]:
        """Numbers of the chunks that are there, ascending.

        Raises:
            UsageError: The folder cannot be listed, or holds a chunk that is none of these.
        """
        found = numbers_in(self.folder)
        if found and found[-1] >= len(self):
            raise _unfit(self._path(found[-1]), "is beyond the last chunk of the plan")
        return found

    def write(self, number: int, batch: Batch, provider: str) -> None:
        """Write a chunk, whole or not at all.

        Raises:
            OutputError: It cannot be written.
            UsageError: It is too large.
        """
        data = chunk_bytes(Place(self.plan, number, provider), batch)
        if len(data) > MAX_BYTES:
            raise UsageError(
                f"takes more than {MAX_BYTES >> 20} MiB", where="a chunk", hint="Use a smaller --chunk-size"
            )
        try:
            with atomic_writer(self._path(number)) as file:
                file.write(data)
        except OutputError as error:
            if not self.temporary:
                raise
            hint = "Make room there, or set TMPDIR to another folder"
            raise OutputError(error.what, where="the folder for temporary files", hint=hint) from error

    def read(self, number: int) -> tuple[str, Batch]:
        """The provider that scored a chunk, and the chunk.

        Raises:
            UsageError: It is missing, damaged, or of another plan.
        """
        path = self._path(number)
        try:
            data = read_descriptor(open_regular(path), MAX_BYTES)
            place, batch = parse_chunk(data, self.items(number), self.columns)
        except OSError as error:
            raise _unfit(path, f"cannot be read ({error.strerror or type(error).__name__})") from None
        except UnreadableInput as error:
            raise _unfit(path, f"cannot be read ({error.detail})") from None
        except UnsoundChunk as error:
            raise _unfit(path, str(error)) from None
        if place.plan != self.plan:
            raise _unfit(path, "belongs to another plan")
        if place.number != number:
            raise _unfit(path, f"is chunk {place.number} under the name of another")
        return place.provider, batch

    def replay(self) -> Iterator[Batch]:
        """All chunks in order; in place of one that is missing, its inputs as not scanned.

        Raises:
            UsageError: One is damaged, or of another plan, or they were scored by different execution providers.
        """
        there, first = set(self.done()), None
        for number in range(len(self)):
            if number not in there:
                yield self._missing(number)
                continue
            provider, batch = self.read(number)
            first = first or provider
            if provider != first:
                raise _unfit(self._path(number), f"was scored by {printable(provider, 60)}, others by {first}")
            yield batch

    def _missing(self, number: int) -> Batch:
        items = self.items(number)
        left_out = tuple((item, NOT_SCANNED, _DETAIL) for item in items)
        return Batch(items[0].index, tuple(items), np.zeros(0, np.int64), {}, (None,) * len(items), left_out)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:07}.chunk"


def numbers_in(folder: Path) -> list[int]:
    """Numbers of the chunks in a folder, ascending.

    Raises:
        UsageError: It cannot be listed, or holds what is no name of a chunk and ends like one.
    """
    found = []
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise UsageError(f"cannot be listed ({error.strerror})", where=printable(str(folder))) from None
    for name in names:
        match = _NAME.fullmatch(name)
        if match is not None:
            found.append(int(match[1]))
        elif name.endswith(".chunk"):
            raise _unfit(folder / name, "is no name of a chunk: one may be there twice")
    return found


def _unfit(path: Path, what: str) -> UsageError:
    return UsageError(what, where=printable(str(path)), hint="Remove it and run its part of the scan again")
