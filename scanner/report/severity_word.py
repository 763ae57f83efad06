"""The severity as people read it: a scan that found nothing and concludes nothing is no clean one."""

from __future__ import annotations

from scanner.report.schema.verdict import VerdictSection
from scanner.verdict.terms import Decision, Severity


def severity_word(verdict: VerdictSection) -> str:
    """One or two words in lower case: the severity, ``not assessed`` or ``no verdict``."""
    if verdict.severity is None:
        return "not assessed"
    if verdict.severity is Severity.NONE and verdict.decision is Decision.INCONCLUSIVE:
        return "no verdict"
    return str(verdict.severity)
