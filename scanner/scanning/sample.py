"""A sample of the inputs: those with the smallest digests, each picture once, whatever order they come in."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.copies import copies
from detectors.drift.appearance import thumbnails_of
from scanner.inputs.pipeline import Batch, Outputs

SAMPLE: Final = 2000
"""Most distinct inputs that are looked at together: the work grows with them."""
SAMPLE_BYTES: Final = 2**28
"""Most memory for what is kept of them."""
MIN_SAMPLE: Final = 20
OVERSAMPLE: Final = 4
"""All units are kept of so many times as many inputs as the sample has, so that most batches need none read again."""
ROWS: Final = ("predicted", "scores", "p_values", "appearance")
UNITS: Final = "units"
INDEX: Final = "index"
"""What is kept of an input beside its units, where there are any, and its index."""
_DIGESTS: Final = 2**256


@dataclass(frozen=True)
class Sample:
    """Inputs in the order of their digests, each picture once.

    Attributes:
        digests: Their digests as numbers.
        values: Rows ``(n, ...)`` of `ROWS`, `UNITS` and `INDEX`; units only where the profile has any.
        contents: Inputs of different content that these stand for, copies that are not exact among them.
    """

    digests: tuple[int, ...]
    values: dict[str, NDArray[Any]]
    contents: int

    def __len__(self) -> int:
        """Number of inputs."""
        return len(self.digests)


def candidates(batch: Batch, total: int) -> NDArray[np.int32]:
    """Positions of the readable inputs of a batch, or chunk, that the sample of all inputs may want.

    Args:
        batch: With all units.
        total: Number of all inputs.
    """
    most = _most(batch.outputs, batch.outputs[UNITS])
    limit = _limit(total, most)
    first: dict[int, int] = {}
    for position in np.flatnonzero(batch.outputs["usable"]).tolist():
        digest = digest_number(batch, position)
        if digest < limit:
            first.setdefault(digest, position)
    return np.array(sorted(first[digest] for digest in heapq.nsmallest(most, first)), np.int32)


class InputSample:
    """Collects inputs with finite outputs, chunk after chunk.

    Args:
        total: Number of all inputs.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        # The largest digest first, so that it is the one that gives way.
        self._heap: list[tuple[int, dict[str, Any]]] = []
        self._known: set[int] = set()
        self._most = SAMPLE
        # Inputs without units in their chunk, by digest; the first of each content.
        self._others: dict[int, int] = {}

    def add(self, batch: Batch) -> None:
        """Look at a chunk, with all units of its `candidates` where there are any."""
        if not len(batch.readable):
            return
        out = batch.outputs
        kept = out.get("kept_units")
        self._most = _most(out, kept)
        if kept is None:
            for position in np.flatnonzero(out["usable"]).tolist():
                self._take(batch, position, None)
            return
        for position, units in zip(out["kept_rows"].tolist(), kept, strict=True):
            self._take(batch, position, units)
        if (limit := _limit(self._total, self._most)) < _DIGESTS:
            for position in np.flatnonzero(out["usable"]).tolist():
                if (digest := digest_number(batch, position)) >= limit:
                    self._others.setdefault(digest, batch.items[int(batch.readable[position])].index)
            if len(self._others) > 2 * self._most:
                self._others = {key: self._others[key] for key in heapq.nsmallest(self._most, self._others)}

    def missing(self) -> list[int]:
        """Indices of the inputs that belong to the sample and whose units are in no chunk, by digest."""
        if (few := self._most - len(self._heap)) <= 0:
            return []
        return [self._others[digest] for digest in heapq.nsmallest(few, self._others)]

    def complete(self, batch: Batch) -> None:
        """Take those of the `missing` that were read again and are still what they were."""
        for position in np.flatnonzero(batch.outputs["usable"]).tolist() if len(batch.readable) else ():
            index = batch.items[int(batch.readable[position])].index
            if self._others.get(digest_number(batch, position)) == index:
                self._take(batch, position, batch.outputs[UNITS][position])

    def _take(self, batch: Batch, position: int, units: NDArray[Any] | None) -> None:
        digest = digest_number(batch, position)
        if digest in self._known or (len(self._heap) == self._most and digest >= -self._heap[0][0]):
            return
        # A digest is there once, so that two entries never compare what is kept.
        kept = {name: batch.outputs[name][position].copy() for name in ROWS}
        kept |= {} if units is None else {UNITS: units.copy()}
        entry = (-digest, kept | {INDEX: batch.items[int(batch.readable[position])].index})
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        else:
            self._known.discard(-heapq.heapreplace(self._heap, entry)[0])
        self._known.add(digest)

    def finish(self, copy_distance: float | None) -> Sample | None:
        """The sample, the first of every group of copies alone; None for no input.

        Args:
            copy_distance: Of `detectors.copies.copy_distance`; None where only exact copies are known.
        """
        chosen = sorted(self._heap, key=lambda entry: -entry[0])
        if not chosen:
            return None
        values = {name: np.stack([entry[name] for _, entry in chosen]) for name in chosen[0][1]}
        kept = np.arange(len(chosen))
        if copy_distance is not None:
            kept = np.unique(copies(thumbnails_of(values["appearance"]), copy_distance))
        digests = tuple(-chosen[row][0] for row in kept.tolist())
        return Sample(digests, {name: value[kept] for name, value in values.items()}, len(chosen))


def digest_number(batch: Batch, position: int) -> int:
    """An input's digest as a number; ``position`` is that among the readable ones."""
    digest = batch.digests[int(batch.readable[position])]
    assert digest is not None  # what could be read has one
    return int(digest, 16)


def _most(outputs: Outputs, units: NDArray[Any] | None) -> int:
    """Inputs of the sample, by what one of them takes."""
    rows = [outputs[name] for name in ROWS]
    an_input = sum(row.itemsize * int(np.prod(row.shape[1:])) for row in (*rows, *([] if units is None else [units])))
    return max(MIN_SAMPLE, min(SAMPLE, SAMPLE_BYTES // an_input))


def _limit(total: int, most: int) -> int:
    """The digest below which inputs are candidates."""
    return _DIGESTS if OVERSAMPLE * most >= total else OVERSAMPLE * most * _DIGESTS // total
