"""What `scan` knows after each of its steps. Each stage is made once and never changed.

`OpenedProfile` -> `OpenedScan` -> `Counted` -> `Concluded` -> report
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Self

from detectors.calibration.judge import Calibration
from detectors.shared_units.detector import SharedUnits
from scanner.inputs.items import Source
from scanner.profile.content import Profile
from scanner.profile.header import ProfileHeader
from scanner.profile.looks import ReferenceLooks
from scanner.report.build import BehindTheAlarm
from scanner.report.schema import (
    BatchSection,
    Distributions,
    Finding,
    InputRow,
    LabelsSection,
    PolicySection,
    RowsSection,
)
from scanner.report.triage import IgnoreFile
from scanner.scanning.handed_over import HandedOver
from scanner.scanning.material import Chosen
from scanner.scanning.shared_units import Place
from scanner.scanning.shown import Shown
from scanner.scanning.tally import ScanCounts
from scanner.scanning.tried import Tried
from scanner.scoring.scorer import Scorer
from scanner.verdict.terms import Verdict


@dataclass(frozen=True)
class Started:
    """When a scan began: the time, for people, and a clock in seconds that only runs forward."""

    at: datetime
    clock: float

    @classmethod
    def now(cls) -> Self:
        """At this moment."""
        return cls(datetime.now(UTC), time.monotonic())


@dataclass(frozen=True)
class Told:
    """What people said about earlier findings, and the day on which it is read.

    Attributes:
        ignore: The ignore file, or None.
        known: Fingerprints of the baseline's findings.
        baseline_sha256: Digest of the baseline, or None without one.
        today: The day.
    """

    ignore: IgnoreFile | None
    known: frozenset[str]
    baseline_sha256: str | None
    today: date


@dataclass(frozen=True)
class OpenedProfile:
    """The profile, read and checked.

    Attributes:
        profile: What to judge with.
        calibration: The profile's, which turns scores into p-values.
        units: The loudest clean images of every unit; None in a profile of an older format.
        looks: What clean images look like; None likewise.
    """

    profile: Profile
    calibration: Calibration
    units: SharedUnits | None
    looks: ReferenceLooks | None


@dataclass(frozen=True)
class OpenedScan:
    """The profile, ready to score, and the inputs; none of them was read yet.

    Attributes:
        profile: What to judge with.
        scorer: Of the profile.
        calibration: The profile's, which turns scores into p-values.
        units: The loudest clean images of every unit; None in a profile of an older format.
        looks: What clean images look like; None likewise.
        source: The inputs.
        handed: Patterns of an audit; None where none was handed over.
    """

    profile: Profile
    scorer: Scorer
    calibration: Calibration
    units: SharedUnits | None
    looks: ReferenceLooks | None
    source: Source
    handed: HandedOver | None = None

    @property
    def header(self) -> ProfileHeader:
        """What the profile says of itself."""
        return self.profile.header


@dataclass(frozen=True)
class Counted:
    """What one pass over the inputs gave; it does not grow with their number.

    Attributes:
        counts: Counts, tests of the batch, and the most suspicious inputs.
        digest: SHA-256 over the inputs' digests, in order.
        rows: The file with one row per input, or None.
        distributions: Scores and p-values in bins.
        chosen: Inputs that a trigger could be estimated from.
        shown: What became of the attempt to show it; None where the inputs are not suspicious.
        tried: What became of the patterns of an audit; None where none was handed over.
        places: Where in the picture the units that inputs share are loudest, by the unit's number.
        labels: Accuracy by the inputs' labels; None where they have none.
    """

    counts: ScanCounts
    digest: str
    rows: RowsSection | None
    distributions: Distributions
    chosen: Chosen
    shown: Shown | None = None
    tried: Tried | None = None
    places: Mapping[int, Place] = field(default_factory=dict)
    labels: LabelsSection | None = None


@dataclass(frozen=True)
class Concluded:
    """What follows from the counts.

    Attributes:
        batch: What the inputs say together.
        verdict: The verdict, with what was accepted.
        top_inputs: The most suspicious inputs.
        findings: What was found, with what the ignore file and the baseline say of it.
        warnings: What a person should know of the ignore file.
        policy: The gate's settings, or None where nothing is known about them.
        behind: What is behind an alarm: drift, copies, and the trigger where it was shown.
    """

    batch: BatchSection
    verdict: Verdict
    top_inputs: tuple[InputRow, ...]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    policy: PolicySection | None
    behind: BehindTheAlarm
