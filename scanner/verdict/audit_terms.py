"""The words of an audit's verdict: its outcome, and the evidence behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from scanner.graph.structure.analyse import Structure
from scanner.verdict.terms import Acceptance, Check, Decision, ExitCode, FailOn, Severity

About = Literal["all classes", "one class", "one pair"]
ALL_CLASSES: Final = "all classes"
ONE_PAIR: Final = "one pair"
"""What a pattern's rule is about."""


class AuditOutcome(StrEnum):
    """What an audit ends with."""

    BUILT_IN = "built in"
    EVIDENCE = "evidence"
    ANOMALOUS = "anomalous"
    EXPLOITABLE = "exploitable"
    NONE_FOUND = "none found"
    UNCALIBRATED = "uncalibrated"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class FoundPattern:
    """One pattern on clean images that it was not chosen on.

    Attributes:
        described: What it is and what it moves where, in words, without a full stop.
        about: Whether its rule is about all classes, about one, or about the most unusual pair.
        is_patch: Whether it hides a small part of the picture, and leaves the rest.
        moved: Images that do what its rule says.
        eligible: Images that its rule is about.
        low: Lower end of an exact 95% interval of their share.
    """

    described: str
    about: About
    is_patch: bool
    moved: int
    eligible: int
    low: float

    @property
    def rate(self) -> float:
        """Share of the eligible images that do what the rule says."""
        return self.moved / self.eligible if self.eligible else 0.0


@dataclass(frozen=True)
class AmongNetworks:
    """The network among clean ones.

    Attributes:
        p_value: Share of the networks, this one included, that are at least as unusual.
        networks: Clean networks.
        described: What they are.
        loudest: Position of the pattern that is most unusual; None where that kind of pattern was not reached.
        usual: Median, over clean networks, of what the loudest kind of pattern moves.
        largest: The most that it moves on one of them.
        same_pair: Whether a pair of classes is beside the same two, rather than those that a patch moves most.
    """

    p_value: float
    networks: int
    described: str
    loudest: int | None
    usual: float
    largest: float
    same_pair: bool = True


@dataclass(frozen=True)
class AuditEvidence:
    """What an audit found.

    Attributes:
        images: Clean images that were used.
        accuracy: Accuracy on them; None without labels.
        num_classes: Classes of the network.
        patterns: The best pattern of each kind.
        tried: Patterns that were tried.
        complete: Whether the search came to its end.
        alpha: Significance level.
        compared: The network among clean ones; None without any to compare with.
        why_not_compared: Why there are none, in a sentence; empty where there are.
        structure: How the network's graph is built.
    """

    images: int
    accuracy: float | None
    num_classes: int
    patterns: tuple[FoundPattern, ...]
    tried: int
    complete: bool
    alpha: float
    compared: AmongNetworks | None
    why_not_compared: str = ""
    structure: Structure = field(default_factory=lambda: Structure(None))


@dataclass(frozen=True)
class AuditVerdict:
    """What follows from an audit.

    Attributes:
        outcome: In one word.
        severity: Severity that the evidence supports; None where it cannot be used.
        decision: What to do.
        reasons: Sentences, the decisive one first.
        rules: Identifiers of the rules that applied and of every failed check.
        checks: Every check, failed or not.
        fail_on: The severity to fail on.
        exit_code: 0 below it, 1 at or above it, 3 inconclusive.
        rules_version: Version of the rules.
        rules_sha256: SHA-256 of the rules file.
        accepted: Why a finding that fails the gate does not; None where nothing was accepted.
    """

    outcome: AuditOutcome
    severity: Severity | None
    decision: Decision
    reasons: tuple[str, ...]
    rules: tuple[str, ...]
    checks: tuple[Check, ...]
    fail_on: FailOn
    exit_code: ExitCode
    rules_version: str
    rules_sha256: str
    accepted: Acceptance | None = None
