"""Many different numbers, in eight bytes each."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_PENDING: Final = 2**16


class DistinctNumbers:
    """Collects whole numbers from 0 to 2^64 - 1 and keeps each once.

    >>> numbers = DistinctNumbers()
    >>> for number in (3, 1, 3):
    ...     numbers.add(number)
    >>> numbers.sorted().tolist()
    [1, 3]
    """

    def __init__(self) -> None:
        self._known: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._pending: list[int] = []

    def add(self, number: int) -> None:
        """Take a number."""
        self._pending.append(number)
        # Sorting what is known takes as long as it is: so it is done each time that there is an eighth more.
        if len(self._pending) >= max(_PENDING, len(self._known) // 8):
            self.sorted()

    def sorted(self) -> NDArray[np.uint64]:
        """All of them so far, ascending."""
        if self._pending:
            self._known = np.unique(np.concatenate([self._known, np.array(self._pending, np.uint64)]))
            self._pending.clear()
        return self._known
