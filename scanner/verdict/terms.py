"""The words of a verdict: severity, decision, confidence, and the evidence and checks behind them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    # Not for the command line, which needs the words alone to print its help: these bring pydantic.
    from scanner.graph.structure.analyse import Structure
    from scanner.profile.header import SelfCheck

ExitCode = Literal[0, 1, 3]
FINDING_CHECKS = ("LS100", "LS105", "LS113", "LS120", "LS501", "LS502", "LS503")
"""The checks that are findings: batch test, outputs that are not finite, shared units, a shown trigger, the graph. The
others are conditions."""


class Severity(StrEnum):
    """How bad it is, if the evidence holds."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for none to 4 for critical."""
        return list(Severity).index(self)


class FailOn(StrEnum):
    """The severity from which on a scan exits with 1."""

    NEVER = "never"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def gate(self) -> Severity:
        """The severity that settles the scan. Without a gate, any finding settles it."""
        return Severity.LOW if self is FailOn.NEVER else Severity(self.value)


class Decision(StrEnum):
    """What to do with the model."""

    ACCEPT = "accept"
    REVIEW = "review"
    QUARANTINE = "quarantine"
    INCONCLUSIVE = "inconclusive"


class Confidence(StrEnum):
    """Whether everything that the calibration relies on is in place."""

    CALIBRATED = "calibrated"
    PROVISIONAL = "provisional"

    @property
    def rank(self) -> int:
        """0 for provisional, 1 for calibrated."""
        return int(self is Confidence.CALIBRATED)


class CheckStatus(StrEnum):
    """Outcome of a check. One that could not run is 'not_assessed', never 'passed'."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_ASSESSED = "not_assessed"
    ERROR = "error"

    @classmethod
    def of(cls, passed: bool) -> CheckStatus:
        """That of a check that could run."""
        return cls.PASSED if passed else cls.FAILED


@dataclass(frozen=True)
class UnitsEvidence:
    """What the inputs' units say.

    Attributes:
        p_value: P-value of the test of the batch, whatever classes it is of.
        any_class: The same of all inputs, as if a batch had the classes of the reference.
        inputs: Distinct inputs that were looked at.
        counted: Whether an input's own units count in its p-value.
        sharing: Inputs that are louder in shared units than any clean image.
        loudest: Descriptor and channel of the units that speak up most, the strongest first.
        place: Row and column, from 0 to 1, where one of them is loudest in most of the inputs that were looked at
            again, in how many, and of how many; None where they do not agree.
    """

    p_value: float
    any_class: float
    inputs: int
    counted: bool
    sharing: int
    loudest: tuple[tuple[str, int], ...]
    place: tuple[float, float, int, int] | None = None


@dataclass(frozen=True)
class ScoreShift:
    """The score in which inputs that are not flagged differ most from clean images.

    Attributes:
        name: The score.
        distance: Largest distance of the distribution functions.
        p_value: Of that distance, all scores accounted for.
    """

    name: str
    distance: float
    p_value: float


@dataclass(frozen=True)
class LookShift:
    """How inputs that are not flagged differ from clean images in what they look like.

    Attributes:
        name: What was measured, one of `detectors.drift.appearance.STATISTICS`.
        distance: Largest distance of the distribution functions.
        p_value: Of that distance, all that was measured accounted for.
        inputs: Its median over the inputs.
        reference: Its median over the clean images.
    """

    name: str
    distance: float
    p_value: float
    inputs: float
    reference: float


@dataclass(frozen=True)
class DriftEvidence:
    """Whether the inputs that are not flagged are like clean images.

    Attributes:
        rest: Inputs that are not flagged, of those that were looked at, each picture once.
        looked_at: Inputs that were looked at.
        score: The score that differs most; None for too few inputs.
        looks: What they look like, what differs most first.
    """

    rest: int
    looked_at: int
    score: ScoreShift | None
    looks: tuple[LookShift, ...]


@dataclass(frozen=True)
class CopiesEvidence:
    """How many different pictures the inputs are.

    Attributes:
        inputs: Inputs with finite outputs.
        repeated: Those with the content of an earlier one.
        contents: Inputs of different content in a sample.
        pictures: How many different pictures they are.
    """

    inputs: int
    repeated: int
    contents: int
    pictures: int

    @property
    def repeated_share(self) -> float:
        """Estimated share of the inputs that shows what an earlier one shows."""
        exact = self.repeated / self.inputs if self.inputs else 0.0
        near = 1 - self.pictures / self.contents if self.contents else 0.0
        return 1 - (1 - exact) * (1 - near)


@dataclass(frozen=True)
class DemonstrationEvidence:
    """What became of the attempt to show a trigger.

    Attributes:
        missing: Why nothing was tried; None where something was, and the rest says what.
        kind: What kind of pattern the flagged inputs share.
        does: What the pattern does to classes, in words.
        one_class: Whether that is about one class alone.
        eligible: Clean images that it should move.
        moved: Those that it moves.
        low: Lower end of an exact 95% interval of their share.
        high: Its upper end.
        flagged: Eligible images that are flagged once they carry it.
        control_moved: Eligible images that the control moves.
        control_flagged: Eligible images that are flagged under the control.
        p_value: Exact, that the pattern moves no more of them than the control.
        passes: Images that were run through the network for it.
    """

    missing: str | None = None
    kind: str = ""
    does: str = ""
    one_class: bool = False
    eligible: int = 0
    moved: int = 0
    low: float = 0.0
    high: float = 1.0
    flagged: int = 0
    control_moved: int = 0
    control_flagged: int = 0
    p_value: float = 1.0
    passes: int = 0

    @property
    def rate(self) -> float:
        """Share of the eligible images that it moves."""
        return self.moved / self.eligible if self.eligible else 0.0

    @property
    def control_rate(self) -> float:
        """The same share under the control."""
        return self.control_moved / self.eligible if self.eligible else 0.0


@dataclass(frozen=True)
class HandedOverEvidence:
    """What became of the patterns that an audit of the model found.

    Attributes:
        missing: Why none was tried; None where some were, and the rest is about the one that says most.
        described: What it is, and what it does to classes, in words.
        trial: What it does to clean images; the control are the same images without it.
        suspicious: Flagged inputs, each picture once.
        agreeing: Those of them that end in the pattern's class.
        ordinary: Inputs that are not flagged and were compared with them.
        ordinary_agreeing: Those of these that end in it.
        p_value: Exact, that flagged inputs do so no more often, times the classes that were looked at; None for a
            pattern without one class.
    """

    missing: str | None = None
    described: str = ""
    trial: DemonstrationEvidence = DemonstrationEvidence()
    suspicious: int = 0
    agreeing: int = 0
    ordinary: int = 0
    ordinary_agreeing: int = 0
    p_value: float | None = None


@dataclass(frozen=True)
class Evidence:
    """What a scan found, and how far its means carry.

    Attributes:
        inputs_total: Inputs found.
        inputs_scanned: Inputs that were scored.
        inputs_unreadable: Inputs that could not be read.
        inputs_not_finite: Scanned inputs with logits or scores that are not finite. They are evidence of their own and
            none of what follows counts them.
        alpha: Significance level of an input.
        smallest_alpha: Smallest level at which the calibration can flag an input.
        flagged: Inputs with a p-value of at most alpha.
        batch_p_value: p-value of the batch, by densities and units together; 1 when nothing was compared.
        smallest_attainable_p: Batch p-value if every compared input had been as suspicious as possible.
        share_low: Lower end of the interval for the share of triggered inputs.
        share: Its estimate.
        share_high: Its upper end.
        clean_accuracy: Share of the labelled reference that the model classifies as labelled; None without labels.
        reference_images: Images that the accuracy was measured on.
        num_classes: Outputs of the model.
        calibration_size: Calibration images.
        labelled: Whether the reference came with labels.
        min_class_count: Reference images in the smallest class.
        parity: Largest relative difference between ONNX Runtime and the original framework; None if there was none.
        self_checks: What `fit` tried on the finished graph.
        units: What the units say; None where they were not looked at.
        structure: How the network's graph is built; None where the profile does not say.
        drift: Whether the inputs that are not flagged are like clean images; None without any input.
        copies: How many different pictures the inputs are; None likewise.
        demonstration: What became of the attempt to show a trigger; None where the inputs are not suspicious.
        handed_over: What became of an audit's patterns; None where none were handed over.
        allow_drift: Why inputs that are unlike the reference are scanned all the same; None where nobody said so.
        inputs_missing: Inputs whose part of the scan is missing; they count as unreadable, too.
    """

    inputs_total: int
    inputs_scanned: int
    inputs_unreadable: int
    inputs_not_finite: int
    alpha: float
    smallest_alpha: float
    flagged: int
    batch_p_value: float
    smallest_attainable_p: float
    share_low: float
    share: float
    share_high: float
    clean_accuracy: float | None
    reference_images: int
    num_classes: int
    calibration_size: int
    labelled: bool
    min_class_count: int
    parity: float | None
    self_checks: tuple[SelfCheck, ...]
    units: UnitsEvidence | None = None
    structure: Structure | None = None
    drift: DriftEvidence | None = None
    copies: CopiesEvidence | None = None
    demonstration: DemonstrationEvidence | None = None
    handed_over: HandedOverEvidence | None = None
    allow_drift: str | None = None
    inputs_missing: int = 0

    @property
    def inputs_compared(self) -> int:
        """Scanned inputs that the batch tests are about."""
        return self.inputs_scanned - self.inputs_not_finite


@dataclass(frozen=True)
class Check:
    """One named check with its outcome.

    Attributes:
        id: Stable identifier.
        name: Short name.
        status: Outcome.
        message: The outcome in one sentence; for a failed check with what to do.
        statistic: The value looked at, in `units`.
        units: Unit of `statistic` and `threshold`.
        p_value: p-value of the check, where it is a test.
        threshold: The bound that the statistic, or for a test the p-value, was compared with.
        n: Number of observations behind the statistic.
        limitations: What the check cannot tell.
    """

    id: str
    name: str
    status: CheckStatus
    message: str
    statistic: float | None
    units: str
    p_value: float | None
    threshold: float | None
    n: int | None
    limitations: str


@dataclass(frozen=True)
class Acceptance:
    """Somebody's decision to let a finding about the model pass the gate.

    Attributes:
        reason: The reason, as somebody wrote it.
        expires: Last day on which it holds, RFC 3339.
        source: Name of the file that says so.
    """

    reason: str
    expires: str
    source: str


@dataclass(frozen=True)
class Verdict:
    """What follows from the evidence.

    Attributes:
        severity: Severity that the evidence supports; None when the evidence cannot be used.
        decision: What to do.
        confidence: Whether everything that the calibration relies on is in place.
        reasons: Sentences, the decisive one first.
        rules: Identifiers of the severity rules that applied and of every failed check.
        checks: Every check, failed or not.
        fail_on: The severity to fail on.
        exit_code: 0 below it or accepted, 1 at or above it, 3 inconclusive.
        rules_version: Version of the rules.
        rules_sha256: SHA-256 of the rules file.
        accepted: Why a finding that fails the gate does not; None where nothing was accepted.
    """

    severity: Severity | None
    decision: Decision
    confidence: Confidence
    reasons: tuple[str, ...]
    rules: tuple[str, ...]
    checks: tuple[Check, ...]
    fail_on: FailOn
    exit_code: ExitCode
    rules_version: str
    rules_sha256: str
    accepted: Acceptance | None = None
