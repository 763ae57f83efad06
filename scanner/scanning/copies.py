"""Counting copies once: of all inputs by their digests, and of the flagged ones by their thumbnails too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.copies import copies
from scanner.scanning.distinct import DistinctNumbers

MOST: Final = 20_000
"""Flagged inputs that are compared with one another; of more, those whose digests end in so many zeros that there are
fewer, and the batch's test is of such inputs alone."""


@dataclass(frozen=True)
class DistinctCounts:
    """Inputs of the batch's test, each picture that the densities flag counted once.

    Attributes:
        inputs: Inputs of different content.
        flagged: Different pictures that the densities flag.
        above_all: Those of them that score above every calibration image.
        repeated: Inputs with the content of an earlier one.
        every: One of how many inputs these are counted among: 1, or a power of two.
    """

    inputs: int
    flagged: int
    above_all: int
    repeated: int
    every: int


@dataclass
class CopyTally:
    """Counts while scanning, in memory that does not grow: of at most `MOST` flagged ones, thumbnails are kept.

    Attributes:
        copy_distance: Of `detectors.copies.copy_distance`; None where only exact copies are known.
    """

    copy_distance: float | None
    contents: DistinctNumbers = field(default_factory=DistinctNumbers)
    seen: int = 0
    flagged: dict[int, tuple[NDArray[np.float32], bool]] = field(default_factory=dict)
    level: int = 0

    def add(self, sha256: str, thumbnail: NDArray[np.float32] | None, *, flagged: bool, above: bool) -> None:
        """Count an input whose outputs are finite.

        Raises:
            OutputError: Its digest finds no room among temporary files.
        """
        # Sixty bits tell apart what anybody scans.
        digest = int(sha256[:15], 16)
        self.seen += 1
        self.contents.add(digest)
        if not flagged or digest % 2**self.level:
            return
        known = self.flagged.get(digest)
        kept = np.zeros(0, np.float32) if thumbnail is None else thumbnail.copy()
        self.flagged[digest] = (kept, above or (known is not None and known[1]))
        while len(self.flagged) > MOST:
            self.level += 1
            self.flagged = {key: value for key, value in self.flagged.items() if key % 2**self.level == 0}

    def finish(self) -> DistinctCounts:
        """The counts."""
        every, contents, among = 2**self.level, 0, 0
        for block in self.contents.ascending():
            contents += len(block)
            among += int((block % np.uint64(every) == 0).sum())
        digests = sorted(self.flagged)
        groups = np.arange(len(digests))
        if digests and self.copy_distance is not None:
            groups = copies(np.stack([self.flagged[digest][0] for digest in digests]), self.copy_distance)
        above = np.array([self.flagged[digest][1] for digest in digests], bool)
        return DistinctCounts(
            inputs=among,
            flagged=len(np.unique(groups)),
            above_all=len(np.unique(groups[above])),
            repeated=self.seen - contents,
            every=every,
        )
