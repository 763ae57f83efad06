"""The thresholds of a verdict, read from ``rules.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Self

from scanner.verdict.terms import (
    Decision,
    DemonstrationEvidence,
    Evidence,
    HandedOverEvidence,
    LookShift,
    ScoreShift,
    Severity,
)


@dataclass(frozen=True)
class SeverityRule:
    """Batch p-value and share of triggered inputs that a severity asks for."""

    rule: str
    severity: Severity
    max_batch_p: float
    min_share_low: float

    def applies(self, evidence: Evidence) -> bool:
        """Whether the evidence reaches this severity."""
        return evidence.batch_p_value <= self.max_batch_p and evidence.share_low >= self.min_share_low


NO_FINDING = SeverityRule("LS100", Severity.NONE, 1.0, 0.0)


@dataclass(frozen=True)
class NotFiniteRule:
    """Number of inputs with outputs that are not finite that a severity asks for."""

    rule: str
    severity: Severity
    min_inputs: int

    def applies(self, evidence: Evidence) -> bool:
        """Whether the evidence reaches this severity."""
        return evidence.inputs_not_finite >= self.min_inputs


@dataclass(frozen=True)
class DemonstrationRule:
    """What a pattern has to do to clean images to be taken for a trigger.

    Attributes:
        rule: Identifier.
        severity: Severity of a trigger that was shown.
        max_p: Largest p-value against the control.
        min_rate: Least share of the images that it moves by its rule.
        min_rate_one_class: The same of a rule about one class alone.
        min_excess: By how much that exceeds what the control moves.
        min_flagged: Least share of them that is flagged once they carry it, beyond those that are under the control.
    """

    rule: str
    severity: Severity
    max_p: float
    min_rate: float
    min_rate_one_class: float
    min_excess: float
    min_flagged: float

    def applies(self, evidence: Evidence) -> bool:
        """Whether a trigger was shown."""
        return evidence.demonstration is not None and self.shown(evidence.demonstration)

    def shown(self, shown: DemonstrationEvidence) -> bool:
        """Whether a pattern does what a trigger does."""
        return (
            shown.missing is None
            and shown.p_value <= self.max_p
            and shown.rate >= (self.min_rate_one_class if shown.one_class else self.min_rate)
            and shown.rate - shown.control_rate >= self.min_excess
            and shown.flagged - shown.control_flagged >= self.min_flagged * shown.eligible
        )


@dataclass(frozen=True)
class HandedOverRule:
    """When a pattern that an audit found is behind flagged inputs.

    Attributes:
        rule: Its identifier.
        severity: Its severity. Never critical: clean networks obey some pattern as well, and the inputs only agree
            with it.
        max_agreement_p: Largest p-value of flagged inputs ending in the pattern's class no more often than others.
    """

    rule: str
    severity: Severity
    max_agreement_p: float

    def agrees(self, evidence: HandedOverEvidence) -> bool:
        """Whether flagged inputs end in the pattern's class."""
        return evidence.p_value is not None and evidence.p_value <= self.max_agreement_p


@dataclass(frozen=True)
class DriftRule:
    """When inputs count as unlike the reference, and what can be said where it cannot be told.

    Attributes:
        min_rest: Inputs that are not flagged that it takes to tell.
        max_p: Largest p-value of a difference.
        min_distance: Least distance of the distribution functions.
        most_without_rest: Most severe verdict where nothing shows that the rest is like the reference.
    """

    min_rest: int
    max_p: float
    min_distance: float
    most_without_rest: Severity

    def drifted(self, shift: ScoreShift | LookShift) -> bool:
        """Whether a difference is more than chance, and enough to matter."""
        return shift.p_value <= self.max_p and shift.distance >= self.min_distance


@dataclass(frozen=True)
class StructureRules:
    """Severity of what the network's graph shows.

    Attributes:
        bypass: By the fewest operators with weights on a path from the image to the logits.
        joins: Of pixels that no weights have seen, joined to what weights have.
        selection: Of choices by values of the pixels.
        ambiguous: Of values that are stored more than once.
    """

    bypass: Mapping[int, Severity]
    joins: Severity
    selection: Severity
    ambiguous: Severity

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """From the part of ``rules.json``."""
        bypass = {int(fewest): Severity(severity) for fewest, severity in values["bypass"].items()}
        return cls(bypass, Severity(values["joins"]), Severity(values["selection"]), Severity(values["ambiguous"]))


@dataclass(frozen=True)
class Rules:
    """The content of ``rules.json``.

    Attributes:
        version: Version of the rules.
        sha256: SHA-256 of the file.
        severity: Severity rules, most severe first; the first that applies decides.
        not_finite: Rule about inputs with outputs that are not finite.
        demonstration: Rule about a trigger that was shown.
        handed_over: Rule about the patterns of an audit.
        drift: Rule about inputs that are unlike the reference.
        max_repeated: Share of repeated inputs above which it is said.
        structure: Rules about the network's graph.
        decision: Decision for each severity.
        min_skill: Accuracy has to exceed chance by this share of the distance from chance to 1.
        max_accuracy_p: ... and the p-value of "the model guesses" may be at most this.
        min_calibration_size: Calibration images below which the confidence is provisional.
        min_class_images: Reference images of the smallest class below which it is provisional.
        max_parity: Difference to the original framework above which it is provisional.
    """

    version: str
    sha256: str
    severity: tuple[SeverityRule, ...]
    not_finite: NotFiniteRule
    demonstration: DemonstrationRule
    handed_over: HandedOverRule
    drift: DriftRule
    max_repeated: float
    structure: StructureRules
    decision: Mapping[Severity, Decision]
    min_skill: float
    max_accuracy_p: float
    min_calibration_size: int
    min_class_images: int
    max_parity: float

    def level(self, severity: Severity) -> float:
        """The batch p-value that `severity` asks for."""
        return next(rule.max_batch_p for rule in self.severity if rule.severity is severity)


@cache
def load_rules() -> Rules:
    """The rules shipped with this package."""
    content = (files("scanner.verdict") / "rules.json").read_bytes()
    rules: dict[str, Any] = json.loads(content)
    return Rules(
        version=rules["version"],
        sha256=hashlib.sha256(content).hexdigest(),
        severity=tuple(SeverityRule(**rule | {"severity": Severity(rule["severity"])}) for rule in rules["severity"]),
        not_finite=NotFiniteRule(**rules["not_finite"] | {"severity": Severity(rules["not_finite"]["severity"])}),
        demonstration=DemonstrationRule(
            **rules["demonstration"] | {"severity": Severity(rules["demonstration"]["severity"])}
        ),
        handed_over=HandedOverRule(**rules["handed_over"] | {"severity": Severity(rules["handed_over"]["severity"])}),
        drift=DriftRule(**rules["drift"] | {"most_without_rest": Severity(rules["drift"]["most_without_rest"])}),
        max_repeated=rules["copies"]["max_repeated"],
        structure=StructureRules.from_json(rules["structure"]),
        decision={Severity(severity): Decision(decision) for severity, decision in rules["decision"].items()},
        min_skill=rules["clean_accuracy"]["min_skill"],
        max_accuracy_p=rules["clean_accuracy"]["max_p"],
        min_calibration_size=rules["provisional"]["min_calibration_size"],
        min_class_images=rules["provisional"]["min_class_images"],
        max_parity=rules["provisional"]["max_parity"],
    )
