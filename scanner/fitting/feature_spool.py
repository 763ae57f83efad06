"""Feature vectors on disk: written once in order, mapped into memory one descriptor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray


class SpooledFeatures(Mapping[str, NDArray[np.float32]]):
    """Arrays ``(N, D)`` float32 by name, each mapped when it is asked for and released with its last user.

    Args:
        files: File and dimension ``D`` of every array, by name.
        count: Number of rows ``N``.
    """

    def __init__(self, files: Mapping[str, tuple[Path, int]], count: int) -> None:
        self._files, self._count = dict(files), count

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        path, dim = self._files[name]
        return np.memmap(path, "<f4", "r", shape=(self._count, dim))

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def only(self, names: Sequence[str]) -> SpooledFeatures:
        """Some of the arrays, in this order."""
        return SpooledFeatures({name: self._files[name] for name in names}, self._count)


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
