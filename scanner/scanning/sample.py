"""A sample of the inputs: those with the smallest digests, each picture once, whatever order they come in."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.copies import copies
from detectors.drift.appearance import thumbnails_of
from scanner.inputs.pipeline import Batch

SAMPLE: Final = 2000
"""Most distinct inputs that are looked at together: the work grows with them."""
SAMPLE_BYTES: Final = 2**28
"""Most memory for what is kept of them."""
MIN_SAMPLE: Final = 20
KEPT: Final = ("predicted", "scores", "p_values", "appearance", "units")
INDEX: Final = "index"
"""What is kept of an input, of that which there is, beside its index."""


@dataclass(frozen=True)
class Sample:
    """Inputs in the order of their digests, each picture once.

    Attributes:
        digests: Their digests as numbers.
        values: Rows ``(n, ...)`` of `KEPT` and `INDEX`; ``units`` only where the profile has any.
        contents: Inputs of different content that these stand for, copies that are not exact among them.
    """

    digests: tuple[int, ...]
    values: dict[str, NDArray[Any]]
    contents: int

    def __len__(self) -> int:
        """Number of inputs."""
        return len(self.digests)


class InputSample:
    """Collects inputs with finite outputs while they are scored."""

    def __init__(self) -> None:
        # The largest digest first, so that it is the one that gives way.
        self._heap: list[tuple[int, dict[str, Any]]] = []
        self._known: set[int] = set()
        self._most = SAMPLE

    def add(self, batch: Batch) -> None:
        """Look at a judged chunk."""
        if not len(batch.readable):
            return
        outputs = {name: batch.outputs[name] for name in KEPT if name in batch.outputs}
        usable = batch.outputs["finite"]
        if "units" in outputs:
            usable = usable & np.isfinite(outputs["units"]).all(1)
        an_input = sum(value[:1].nbytes for value in outputs.values())
        self._most = max(MIN_SAMPLE, min(SAMPLE, SAMPLE_BYTES // an_input))
        for position in np.flatnonzero(usable).tolist():
            digest = digest_number(batch, position)
            if digest in self._known or (len(self._heap) == self._most and digest >= -self._heap[0][0]):
                continue
            # A digest is there once, so that two entries never compare what is kept.
            kept = {name: value[position].copy() for name, value in outputs.items()}
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
