"""Counting inputs while they are scanned, and what the counts say of the batch."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from detectors.calibration.batch import (
    BatchTest,
    ClassCount,
    TriggeredShare,
    batch_test,
    joint_p_value,
    target_classes,
    triggered_share,
)
from scanner.scanning.copies import CopyTally, DistinctCounts
from scanner.scanning.drift import BatchDrift
from scanner.scanning.scanned import ScannedInput, UnreadableRow
from scanner.scanning.shared_units import BatchUnits

LISTED_UNREADABLE = 100


@dataclass(frozen=True)
class Together:
    """What a sample of the inputs says together.

    Attributes:
        units: What the units say; None where they were not looked at.
        drift: How those that are not flagged differ from clean images; None without any input.
        pictures: Different pictures in the sample.
        contents: Inputs of different content in the sample.
    """

    units: BatchUnits | None
    drift: BatchDrift | None
    pictures: int
    contents: int


@dataclass(frozen=True)
class ScanCounts:
    """Everything about a scan that does not grow with the number of inputs.

    ``test`` is of the densities' p-values, with every picture counted once, ``units`` what the units say, ``sharing``
    how many inputs are louder than every clean image in the units that the batch shares, ``p_value`` that of both
    tests, and ``drift`` how the inputs that are not flagged differ from clean images. ``distinct`` counts pictures, and
    ``pictures`` of ``contents`` is how many there are in a sample of inputs of different content.

    Inputs with something that is not finite are scanned and counted in ``not_finite``, and in none of the counts that
    are compared with clean images: ``flagged``, those per class, the tests and the share.
    """

    total: int
    scanned: int
    not_finite: int
    unreadable_by_reason: dict[str, int]
    unreadable_listed: tuple[UnreadableRow, ...]
    flagged: int
    predicted_per_class: NDArray[np.int64]
    flagged_per_class: NDArray[np.int64]
    top: tuple[ScannedInput, ...]
    test: BatchTest
    units: BatchUnits | None
    drift: BatchDrift | None
    distinct: DistinctCounts
    pictures: int
    contents: int
    sharing: int
    share: TriggeredShare | None
    targets: tuple[ClassCount, ...]

    @property
    def unreadable(self) -> int:
        """Number of inputs left out."""
        return self.total - self.scanned

    @property
    def p_value(self) -> float:
        """P-value of the batch: of densities and units together, by Bonferroni."""
        return self.test.p_value if self.units is None else joint_p_value(self.test.p_value, self.units.p_value)

    @property
    def smallest_attainable(self) -> float:
        """The same, if every input had been as suspicious to the densities as possible."""
        return (
            self.test.smallest_attainable if self.units is None else joint_p_value(self.test.smallest_attainable, 1.0)
        )

    @property
    def compared(self) -> int:
        """Number of inputs that the batch tests compare with clean images."""
        return self.scanned - self.not_finite


@dataclass
class Tally:
    """Counts while scanning; memory does not grow with the inputs.

    Attributes:
        num_classes: Number of classes.
        top_size: How many of the most suspicious inputs to keep.
        alpha: Significance level of an input.
        calibration_size: Calibration images.
        copies: Counts copies once.
    """

    num_classes: int
    top_size: int
    alpha: float
    calibration_size: int
    copies: CopyTally
    scanned: int = 0
    not_finite: int = 0
    flagged: int = 0
    sharing: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    listed: list[UnreadableRow] = field(default_factory=list)
    heap: list[tuple[float, int, ScannedInput]] = field(default_factory=list)
    predicted_per_class: NDArray[np.int64] = field(init=False)
    flagged_per_class: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.predicted_per_class = np.zeros(self.num_classes, np.int64)
        self.flagged_per_class = np.zeros(self.num_classes, np.int64)

    def add(self, row: ScannedInput) -> None:
        """Count a judged input."""
        self.scanned += 1
        if row.finite and row.predicted is not None:
            self.flagged += row.flagged
            self.copies.add(
                row.sha256,
                row.thumbnail,
                flagged=row.density_p_value <= self.alpha * (1 + 1e-12),
                above=row.density_p_value <= (1 + 1e-9) / (self.calibration_size + 1),
            )
            self.sharing += row.above
            self.predicted_per_class[row.predicted] += 1
            self.flagged_per_class[row.predicted] += row.flagged
        else:
            # Evidence of its own: the tests are about inputs that are exchangeable with clean images.
            self.not_finite += 1
        # The order is total (evidence, then position), so the result does not depend on timing.
        entry = (row.evidence, -row.item.index, row)
        if len(self.heap) < self.top_size:
            heapq.heappush(self.heap, entry)
        elif self.heap and entry[:2] > self.heap[0][:2]:
            heapq.heapreplace(self.heap, entry)

    def leave_out(self, row: UnreadableRow) -> None:
        """Count an input that could not be read."""
        self.unreadable[row.reason] += 1
        if len(self.listed) < LISTED_UNREADABLE:
            self.listed.append(row)

    def finish(self, together: Together) -> ScanCounts:
        """The counts, and the tests of the whole batch, beside what a sample of it says together."""
        compared, calibration_size, alpha = self.scanned - self.not_finite, self.calibration_size, self.alpha
        # Conformal p-values of densities alone: those that learned from the batch have another distribution. Copies of
        # one picture are one piece of evidence, and pictures that are not flagged count as often as they come, but for
        # exact copies: more inputs make a number of flagged ones less striking.
        distinct = self.copies.finish()
        test = batch_test(distinct.flagged, distinct.above_all, distinct.inputs, calibration_size, alpha)
        test = replace(test, smallest_attainable=self._attainable(distinct, together))
        top = [row for _, _, row in sorted(self.heap, key=lambda entry: entry[:2], reverse=True)]
        return ScanCounts(
            total=self.scanned + sum(self.unreadable.values()),
            scanned=self.scanned,
            not_finite=self.not_finite,
            unreadable_by_reason=dict(sorted(self.unreadable.items())),
            unreadable_listed=tuple(self.listed),
            flagged=self.flagged,
            predicted_per_class=self.predicted_per_class,
            flagged_per_class=self.flagged_per_class,
            top=tuple(top),
            test=test,
            units=together.units,
            drift=together.drift,
            distinct=distinct,
            pictures=together.pictures,
            contents=together.contents,
            sharing=self.sharing,
            share=triggered_share(self.flagged, compared, calibration_size, alpha) if compared else None,
            targets=tuple(target_classes(self.flagged_per_class, self.predicted_per_class, calibration_size, alpha)),
        )

    def _attainable(self, distinct: DistinctCounts, together: Together) -> float:
        """The batch's p-value if every different picture had been above everything."""
        share = together.pictures / together.contents if together.contents else 1.0
        pictures = round(share * distinct.inputs)
        return batch_test(pictures, pictures, distinct.inputs, self.calibration_size, self.alpha).p_value
