"""Whether a trigger was shown: what flagged inputs share, tried on clean images beside a control."""

from __future__ import annotations

from scanner.base.text import printable
from scanner.verdict.rules import Rules
from scanner.verdict.terms import Check, CheckStatus, DemonstrationEvidence, Evidence


def trigger_shown(evidence: Evidence, rules: Rules) -> Check:
    """The finding that needs no comparison with a reference: an experiment that anybody can repeat."""
    shown, rule = evidence.demonstration, rules.demonstration
    if shown is None:
        status, message = CheckStatus.NOT_ASSESSED, "No trigger was looked for, as the inputs are not suspicious."
    elif shown.missing is not None:
        status = CheckStatus.NOT_ASSESSED
        message = f"No trigger was looked for: {printable(shown.missing, limit=300)}."
    elif rule.applies(evidence):
        status, message = CheckStatus.FAILED, _shown(shown)
    else:
        status, message = CheckStatus.PASSED, _not_shown(shown)
    tried = shown is not None and shown.missing is None
    return Check(
        id=rule.rule,
        name="trigger demonstrated",
        status=status,
        message=message,
        statistic=shown.rate if shown is not None and tried else None,
        units="share of clean images that the pattern moves",
        p_value=shown.p_value if shown is not None and tried else None,
        threshold=rule.min_rate,
        n=shown.eligible if shown is not None and tried else None,
        limitations="Shows patches, blends and patterns that are added, and patches at varying places. A warp, or a "
        "trigger that differs from picture to picture, leaves nothing to stamp: it is not absent for not being shown.",
    )


def _shown(shown: DemonstrationEvidence) -> str:
    return (
        f"Trigger demonstrated, severity critical: the {shown.kind} that flagged inputs share {shown.does}: "
        f"{shown.moved} of {shown.eligible} clean images ({shown.rate:.0%}, {shown.low:.0%} to {shown.high:.0%}), "
        f"where what ordinary inputs share moves {shown.control_moved} (p = {shown.p_value:.2g}). "
        f"{shown.flagged} of them are flagged once they carry it."
    )


def _not_shown(shown: DemonstrationEvidence) -> str:
    return (
        f"No trigger could be demonstrated: what flagged inputs share moves {shown.moved} of {shown.eligible} clean "
        f"images by the rule that fits best, {shown.control_moved} with what ordinary inputs share "
        f"({shown.passes} images were run). A warp cannot be shown in this way."
    )
