"""Features of many images, of which a few rows at a time are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

CHUNK_ROWS: Final = 4096


class Rows(Protocol):
    """Features ``(N, D)`` float32: an array, or a file that is too large for memory.

    Example:
        >>> rows: Rows = np.zeros((3, 2), np.float32)
        >>> rows.shape
        (3, 2)

    References:
        docs/architecture.md, section Pipelines.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, D)``."""

    @property
    def ndim(self) -> int:
        """Two."""

    def __len__(self) -> int:
        """Number of rows ``N``."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]:
        """Rows ``(M,)`` by their numbers, as a new array ``(M, D)``."""


def chunks(features: Rows) -> Iterator[NDArray[np.float32]]:
    """All rows in order, a few thousand at a time.

    Example:
        >>> [len(chunk) for chunk in chunks(np.zeros((5000, 2), np.float32))]
        [4096, 904]

    References:
        docs/architecture.md, section Pipelines.
    """
    for start in range(0, len(features), CHUNK_ROWS):
        yield features[np.arange(start, min(start + CHUNK_ROWS, len(features)))]
