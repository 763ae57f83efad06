"""Let a finding about the model pass the gate because somebody takes the responsibility.

Severity, decision and every check stay as they are, and the verdict says who accepted it and until when: the only thing
that changes is the exit code. An inconclusive scan cannot be accepted, because nothing is known to accept.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from scanner.verdict.audit_terms import AuditVerdict
from scanner.verdict.checks import PARTIAL
from scanner.verdict.terms import Acceptance, Severity, Verdict

AnyVerdict = TypeVar("AnyVerdict", Verdict, AuditVerdict)


def accept(verdict: AnyVerdict, acceptance: Acceptance, up_to: Severity) -> AnyVerdict:
    """The verdict with a failing exit code turned into 0, and a sentence that says so.

    Args:
        verdict: From `decide` or `decide_audit`.
        acceptance: The reason, its last day and where it is written.
        up_to: Severest finding that the reason covers.

    Returns:
        The verdict itself where it does not fail the gate, is severer than what was accepted, or is about a part of the
        inputs alone.
    """
    if any(check.id == PARTIAL for check in verdict.checks):
        return verdict
    if verdict.exit_code != 1 or verdict.severity is None or verdict.severity.rank > up_to.rank:
        return verdict
    sentence = (
        f"ACCEPTED, so the exit code is 0 instead of 1: {acceptance.source} accepts findings on this model up to "
        f"severity {up_to} until {acceptance.expires}, because: {acceptance.reason}"
    )
    first, *others = verdict.reasons
    return dataclasses.replace(verdict, exit_code=0, accepted=acceptance, reasons=(first, sentence, *others))
