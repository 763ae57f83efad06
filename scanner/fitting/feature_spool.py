"""Feature vectors on disk: written once in order, and read a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

ROWS_READ: Final = 1024
"""Rows that are read from a file at once."""


class StoredRows:
    """An array ``(N, D)`` float32 in a file, of which rows are read when they are asked for.

    Of a memory map, all that was read would count as the process's memory for as long as it is mapped.

    Args:
        path: The file.
        dim: Length of a row ``D``.
        chosen: Which rows of the file the ``N`` are.
    """

    ndim: Final = 2

    def __init__(self, path: Path, dim: int, chosen: NDArray[np.int64] | range) -> None:
        self._path, self._chosen, self.shape = path, chosen, (len(chosen), dim)

    def __len__(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]:
        """Rows ``(M,)`` by their numbers, fastest in ascending order."""
        dim = self.shape[1]
        found = np.empty((len(rows), dim), "<f4")
        rows = rows if isinstance(self._chosen, range) else self._chosen[rows]
        stretch = rows // ROWS_READ
        for number in np.unique(stretch).tolist():
            first, mine = number * ROWS_READ, stretch == number
            read = np.fromfile(self._path, "<f4", ROWS_READ * dim, offset=4 * first * dim).reshape(-1, dim)
            found[mine] = read[rows[mine] - first]
        return found


class SpooledFeatures(Mapping[str, StoredRows]):
    """Arrays ``(N, D)`` float32 by name.

    Args:
        files: File and dimension ``D`` of every array, by name.
        count: Number of rows in each file.
        chosen: Which of them the ``N`` are; all by default.
    """

    def __init__(
        self, files: Mapping[str, tuple[Path, int]], count: int, chosen: NDArray[np.int64] | None = None
    ) -> None:
        self._files, self._count = dict(files), count
        self._chosen = range(count) if chosen is None else chosen

    def __getitem__(self, name: str) -> StoredRows:
        path, dim = self._files[name]
        return StoredRows(path, dim, self._chosen)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def mapped(self, name: str) -> NDArray[np.float32]:
        """All rows of an array mapped into memory, for who reads them at random and again and again."""
        path, dim = self._files[name]
        return np.memmap(path, "<f4", "r", shape=(self._count, dim))

    def only(self, names: Sequence[str], rows: NDArray[np.int64] | None = None) -> SpooledFeatures:
        """Some of the arrays, in this order, and of their files some rows; all by default."""
        return SpooledFeatures({name: self._files[name] for name in names}, self._count, rows)


class FeatureSpool:
    """Writes batches of several arrays to files in a folder.

    Args:
        folder: An existing folder.
        dims: Name and dimension of every array.
    """

    def __init__(self, folder: Path, dims: Mapping[str, int]) -> None:
        # Names of layers are no file names: the files are numbered.
        self._paths = {name: (folder / f"{index}.f4", dim) for index, (name, dim) in enumerate(dims.items())}
        self._count = 0
        self._stack = ExitStack()
        self._files = {name: self._stack.enter_context(path.open("wb")) for name, (path, _) in self._paths.items()}

    def __enter__(self) -> Self:
        """Start writing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the files."""
        self._stack.close()

    def append(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Append the rows of one batch, the same number to every array."""
        for name, file in self._files.items():
            file.write(np.ascontiguousarray(arrays[name], "<f4").data)
        self._count += len(arrays[next(iter(self._files))])

    def finish(self) -> SpooledFeatures:
        """End writing; the features can be read from now on."""
        self._stack.close()
        return SpooledFeatures(self._paths, self._count)
