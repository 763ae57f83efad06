"""While counting: which inputs a trigger could be estimated from, and which ones it is compared with."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.copies import copies
from scanner.inputs.items import Item
from scanner.scanning.scanned import ScannedInput, UnreadableRow

MOST: Final = 400
"""Inputs of each kind."""
SCENE: Final = 2.0
"""Pictures so many times as far from one another as copies may show one scene: what these share is no trigger."""
MOST_BYTES: Final = 2**26
"""Memory for the pixels of each."""


@dataclass(frozen=True)
class Wanted:
    """An input to read once more: the digest that it had, and the class that it was predicted as."""

    item: Item
    sha256: str
    predicted: int


@dataclass(frozen=True)
class Chosen:
    """Inputs to read once more.

    Attributes:
        suspicious: Flagged inputs, the most suspicious first, each picture once.
        ordinary: Inputs that are not flagged, by digest, each picture once.
        flagged: How many inputs were flagged.
        compared: Of how many.
    """

    suspicious: tuple[Wanted, ...]
    ordinary: tuple[Wanted, ...]
    flagged: int
    compared: int


class MaterialTally:
    """Chooses inputs; a sink of `scanner.scanning.count_inputs.count_inputs`, whose memory does not grow with them.

    Args:
        image_bytes: Bytes of one image's pixels.
        copy_distance: Of `detectors.copies.copy_distance`; None where only exact copies are known.
    """

    def __init__(self, image_bytes: int, copy_distance: float | None) -> None:
        self._most = max(1, min(MOST, MOST_BYTES // image_bytes))
        self._copy_distance = None if copy_distance is None else SCENE * copy_distance
        # Of both, what gives way comes first; a content is there once.
        self._flagged: list[tuple[float, int, ScannedInput]] = []
        self._rest: list[tuple[float, int, ScannedInput]] = []
        self._known: set[str] = set()
        self._counts = [0, 0]

    def scanned(self, row: ScannedInput) -> None:
        """Look at a judged input."""
        if not row.finite or row.predicted is None:
            return
        self._counts[0] += row.flagged
        self._counts[1] += 1
        if row.sha256 in self._known:
            return
        heap = self._flagged if row.flagged else self._rest
        # The digest's first bits, as many as a float holds.
        first = row.evidence if row.flagged else -float(int(row.sha256[:13], 16))
        entry = (first, -row.item.index, row)
        if len(heap) < self._most:
            heapq.heappush(heap, entry)
        elif entry[:2] > heap[0][:2]:
            gone = heapq.heapreplace(heap, entry)
            self._known.discard(gone[2].sha256)
        else:
            return
        self._known.add(row.sha256)

    def unreadable(self, row: UnreadableRow) -> None:
        """An input without pixels."""

    def finish(self) -> Chosen:
        """The inputs."""
        flagged, rest = (
            [row for _, _, row in sorted(heap, key=lambda entry: entry[:2], reverse=True)]
            for heap in (self._flagged, self._rest)
        )
        return Chosen(self._once(flagged), self._once(rest), *self._counts)

    def _once(self, rows: list[ScannedInput]) -> tuple[Wanted, ...]:
        kept = range(len(rows))
        thumbnails = [row.thumbnail for row in rows if row.thumbnail is not None]
        if rows and self._copy_distance is not None and len(thumbnails) == len(rows):
            kept = np.unique(copies(np.stack(thumbnails), self._copy_distance)).tolist()
        chosen = [rows[position] for position in kept]
        # What is not finite is not here, so every row has a class.
        return tuple(Wanted(row.item, row.sha256, row.predicted or 0) for row in chosen)
