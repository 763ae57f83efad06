"""A few inputs of the batch that are not flagged, to compare the flagged ones with."""

from __future__ import annotations

import heapq
from typing import Final

from scanner.scanning.scanned import ScannedInput, UnreadableRow

MOST_QUIET: Final = 16


class QuietInputs:
    """Keeps a few inputs that are not flagged; a sink of `scanner.scanning.count_inputs.count_inputs`.

    Those of least digest, each content once, whatever order they come in.
    """

    def __init__(self) -> None:
        # The largest digest first, so that it is the one that gives way.
        self._heap: list[tuple[int, ScannedInput]] = []
        self._known: set[int] = set()

    def scanned(self, row: ScannedInput) -> None:
        """Keep an input, or not."""
        if row.flagged or not row.sha256:
            return
        digest = int(row.sha256, 16)
        if digest in self._known or (len(self._heap) == MOST_QUIET and digest >= -self._heap[0][0]):
            return
        if len(self._heap) == MOST_QUIET:
            self._known.discard(-heapq.heappop(self._heap)[0])
        heapq.heappush(self._heap, (-digest, row))
        self._known.add(digest)

    def unreadable(self, row: UnreadableRow) -> None:
        """An input without pixels."""

    def kept(self) -> tuple[ScannedInput, ...]:
        """By digest."""
        return tuple(row for _, row in sorted(self._heap, key=lambda entry: -entry[0]))
