"""What became of the patterns of an audit that a scan tried."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.demonstration.agreement import Agreement
from detectors.demonstration.trial import Outcome
from scanner.scanning.handed_over import HandedPattern


@dataclass(frozen=True)
class TriedPattern:
    """One pattern of an audit, tried.

    Attributes:
        pattern: The pattern, and its rule.
        outcome: What it does to clean images; the control are the same images without it.
        agreement: Whether flagged inputs end in its target more often than others; None for a shift, which has none.
    """

    pattern: HandedPattern
    outcome: Outcome
    agreement: Agreement | None


@dataclass(frozen=True)
class Tried:
    """What became of the patterns of an audit.

    Attributes:
        digest: Of the audit's report.
        patterns: How many were tried.
        best: The one that says most; None where none was tried.
        targets: How many different targets flagged inputs were compared by.
        agreeing: Names of flagged inputs that end in its target, the most suspicious first, at most 100.
        missing: Why none was tried: a sentence without its end; None where some were.
    """

    digest: str
    patterns: int
    best: TriedPattern | None
    targets: int
    agreeing: tuple[str, ...]
    missing: str | None
