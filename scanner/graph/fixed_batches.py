"""Runs on batches of one size, two at a time: what a GPU wants.

cuDNN chooses anew for every shape how to compute, which takes longer than computing, and each choice rounds in its own
way. So a batch of fewer rows is filled up, and what comes of the filling is dropped. Two callers keep a GPU busy: while
it computes for one, the other's rows are copied. More would take its memory and bring nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanner.base.errors import DeviceError

AT_ONCE = 2

Arrays = Mapping[str, NDArray[Any]]
Compute = Callable[[Arrays, Sequence[str]], dict[str, NDArray[Any]]]


class OutOfMemory(DeviceError):
    """The device has no memory left for a batch."""

    def __init__(self) -> None:
        super().__init__(
            "the GPU's memory does not hold one image at a time",
            where="--device",
            hint="Free the GPU's memory, or use --device cpu",
        )


class FixedBatches:
    """Computes on batches of the largest size that was asked for, or of as many rows as the device's memory holds.

    May be called from several threads at once.

    Args:
        compute: Called with arrays of ``n`` rows, and names of outputs, of which it gives ``n`` rows each. From at most
            two threads at once. Raises `OutOfMemory`.
    """

    def __init__(self, compute: Compute) -> None:
        self._compute = compute
        self._running = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._size = 0
        self._most: int | None = None

    def run(self, feeds: Arrays, outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Outputs of at least one row of feeds, all with as many rows.

        Raises:
            OutOfMemory: The device's memory does not hold a single row.
        """
        count, done = len(next(iter(feeds.values()))), 0
        parts: list[dict[str, NDArray[Any]]] = []
        while done < count:
            size = self._fitting(count - done)
            part = {name: _filled(rows[done : done + size], size) for name, rows in feeds.items()}
            try:
                with self._running:
                    computed = self._compute(part, outputs)
            except OutOfMemory:
                if size == 1:
                    raise
                self._halve(size)
                continue
            parts.append({name: rows[: count - done] for name, rows in computed.items()})
            done += size
        return (
            parts[0] if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in outputs}
        )

    def _fitting(self, wanted: int) -> int:
        """The size of the next batch."""
        with self._lock:
            self._size = max(self._size, wanted if self._most is None else min(wanted, self._most))
            return self._size

    def _halve(self, size: int) -> None:
        """Take smaller batches from now on. Another thread may have found out before."""
        with self._lock:
            self._most = min(size // 2, size if self._most is None else self._most)
            self._size = min(self._size, self._most)


def _filled(rows: NDArray[Any], size: int) -> NDArray[Any]:
    """So many rows: these, and zeros."""
    if len(rows) == size:
        return rows
    filled = np.zeros((size, *rows.shape[1:]), rows.dtype)
    filled[: len(rows)] = rows
    return filled
