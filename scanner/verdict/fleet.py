"""A model's verdict among those of many, with p-values that account for all of them.

The verdict of one scan calls a clean model 'high' by its batch test with a probability of at most 0.001. Among a
thousand clean models one is then expected to be. So the rules are applied again to p-values that were adjusted for the
number of models. What rests on no p-value stays: outputs that are not finite, and the network's graph. A verdict can
only become milder, and one that was inconclusive stays so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scanner.verdict.rules import NO_FINDING, Rules, load_rules
from scanner.verdict.terms import Decision, ExitCode, FailOn, Severity

PARTIAL: Final = "LS209"
CONDITIONS: Final = ("LS201", "LS202", "LS203", "LS204", "LS205", "LS206", "LS207", PARTIAL)
"""Checks without which the absence of findings does not count."""


@dataclass(frozen=True)
class Alone:
    """What the report of one model says.

    Attributes:
        found: Severity of each rule about the model that applied, by rule.
        judged: Whether anything follows from the batch's p-value, if only that nothing was found.
        failed: Checks that failed.
        severity: None where the evidence could not be used.
        decision: What to do.
        exit_code: 0, 1 or 3.
        fail_on: Severity from which on the exit code is 1.
        accepted: Whether somebody accepted findings that would fail.
        share_low: Lower end of the interval for the share of triggered inputs.
        smallest_attainable_p: What the batch's p-value could have been at the least.
    """

    found: Mapping[str, Severity]
    judged: bool
    failed: Sequence[str]
    severity: Severity | None
    decision: Decision
    exit_code: ExitCode
    fail_on: FailOn
    accepted: bool
    share_low: float
    smallest_attainable_p: float


@dataclass(frozen=True)
class Among:
    """The verdict among many.

    Attributes:
        severity: None where the evidence could not be used.
        decision: What to do.
        exit_code: 0, 1 or 3.
        changed: What the number of models changed, in a sentence; None where it changed nothing.
    """

    severity: Severity | None
    decision: Decision
    exit_code: ExitCode
    changed: str | None


def among(alone: Alone, batch_p: float, shown_p: float, models: int) -> Among:
    """Apply the rules to adjusted p-values.

    Args:
        alone: What the model's own report says.
        batch_p: P-value of its batch, adjusted.
        shown_p: P-value of the trigger that was shown, adjusted; 1 without one.
        models: Number of models that were adjusted for.
    """
    rules = load_rules()
    severity = _severity(alone, batch_p, shown_p, rules)
    gate = alone.fail_on.gate
    reached = severity is not None and severity.rank >= gate.rank
    fails = reached and alone.fail_on is not FailOn.NEVER
    blocked = any(check in CONDITIONS for check in alone.failed)
    powered = alone.smallest_attainable_p * models <= rules.level(gate)
    settled = fails if PARTIAL in alone.failed else reached
    conclusive = settled or (not blocked and powered)
    if conclusive and severity is not None:
        decision = rules.decision[severity]
    else:
        decision = alone.decision if alone.exit_code == 3 and powered else Decision.INCONCLUSIVE
    code: ExitCode = (1 if fails and not alone.accepted else 0) if conclusive else 3
    return Among(severity, decision, code, _changed(alone, severity, code, models))


def _severity(alone: Alone, batch_p: float, shown_p: float, rules: Rules) -> Severity | None:
    """Of the severest rule that still applies, and never severer than before; None where nothing could be judged."""
    left = [Severity.NONE] if alone.judged else []
    of_batch = {rule.rule for rule in rules.severity}
    for rule, severity in alone.found.items():
        if rule in of_batch:
            still = next(
                (one for one in rules.severity if batch_p <= one.max_batch_p and alone.share_low >= one.min_share_low),
                NO_FINDING,
            )
            left.append(min(severity, still.severity, key=lambda one: one.rank))
        elif rule != rules.demonstration.rule or shown_p <= rules.demonstration.max_p:
            left.append(severity)
    return max(left, key=lambda one: one.rank, default=None)


def _changed(alone: Alone, severity: Severity | None, code: ExitCode, models: int) -> str | None:
    if severity is not alone.severity:
        now = severity or "not assessed"
        return f"Severity {now} instead of {alone.severity}: its p-values are no rarity among {models} models."
    if code != alone.exit_code:
        return (
            f"Inconclusive among {models} models: so few inputs could not have reached severity {alone.fail_on.gate} "
            "even if every one were triggered."
        )
    return None
