"""Whether a pattern that an audit of the model found is behind flagged inputs."""

from __future__ import annotations

from scanner.base.text import printable
from scanner.verdict.rest import Rest, rest_of
from scanner.verdict.rules import Rules
from scanner.verdict.terms import Check, CheckStatus, Evidence, HandedOverEvidence


def applies(evidence: Evidence, rules: Rules) -> bool:
    """Whether it is: the pattern does what a trigger does, and flagged inputs end where it leads.

    Inputs that are unlike the reference end in some class by themselves, so that it takes a rest that is like it.
    """
    found, rule = evidence.handed_over, rules.handed_over
    shown = found is not None and found.missing is None and rules.demonstration.shown(found.trial)
    return found is not None and shown and rule.agrees(found) and rest_of(evidence, rules) is Rest.ALIKE


def audit_pattern(evidence: Evidence, rules: Rules) -> tuple[Check, ...]:
    """The finding, where patterns were handed over; none where they were not."""
    found, rule = evidence.handed_over, rules.handed_over
    if found is None:
        return ()
    if found.missing is not None:
        message = f"No pattern of the audit was tried: {printable(found.missing, limit=300)}."
        status = CheckStatus.NOT_ASSESSED
    else:
        status = CheckStatus.FAILED if applies(evidence, rules) else CheckStatus.PASSED
        message = _told(found, evidence, rules)
    tried = found.missing is None
    return (
        Check(
            id=rule.rule,
            name="pattern of the audit behind flagged inputs",
            status=status,
            message=message,
            statistic=found.trial.rate if tried else None,
            units="share of clean images that the pattern moves",
            p_value=found.p_value,
            threshold=rule.max_agreement_p,
            n=found.suspicious if tried else None,
            limitations="A pattern that moves clean images may be natural, and flagged inputs may end in its class for "
            "another reason: the two only agree. A pattern that leads to no single class is not compared with them.",
        ),
    )


def _told(found: HandedOverEvidence, evidence: Evidence, rules: Rules) -> str:
    trial = found.trial
    text = (
        f"The audit's pattern, {found.described}: {trial.moved} of {trial.eligible} clean images here "
        f"({trial.rate:.0%}, {trial.low:.0%} to {trial.high:.0%}), {trial.flagged} of which are then flagged"
    )
    if not rules.demonstration.shown(trial):
        return f"{text}: not what a trigger does."
    if found.p_value is None:
        return f"{text}. It leads to no single class that flagged inputs could be looked for in."
    text += (
        f". {found.agreeing} of {found.suspicious} flagged inputs end in its class, and {found.ordinary_agreeing} of "
        f"{found.ordinary} others (p = {found.p_value:.2g})"
    )
    if not rules.handed_over.agrees(found):
        return f"{text}: nothing says that it is behind them."
    if not applies(evidence, rules):
        return f"{text}. As the inputs are unlike the reference, or too few are left to tell, nothing follows from it."
    return f"Flagged inputs end where a pattern leads that was found without them. {text}."
