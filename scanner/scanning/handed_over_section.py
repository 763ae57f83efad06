"""What the verdict and the report say of the patterns of an audit."""

from __future__ import annotations

from scanner.profile.header import ProfileHeader
from scanner.report.schema import HandedOverSection
from scanner.scanning.rule_words import does
from scanner.scanning.tried import Tried, TriedPattern
from scanner.verdict.handed_over import applies
from scanner.verdict.rules import load_rules
from scanner.verdict.terms import DemonstrationEvidence, Evidence, HandedOverEvidence


def handed_over_evidence(tried: Tried | None, header: ProfileHeader) -> HandedOverEvidence | None:
    """What the verdict needs to know of them."""
    if tried is None:
        return None
    if tried.best is None:
        return HandedOverEvidence(missing=tried.missing or "nothing could be tried")
    best, outcome, found = tried.best, tried.best.outcome, tried.best.agreement
    described = f"{best.pattern.described}, {does(best.pattern.rule, header)}"
    trial = DemonstrationEvidence(
        eligible=outcome.eligible,
        moved=outcome.moved,
        low=outcome.low,
        high=outcome.high,
        flagged=outcome.flagged,
        control_moved=outcome.control_moved,
        control_flagged=outcome.control_flagged,
        p_value=outcome.p_value,
    )
    if found is None:
        return HandedOverEvidence(described=described, trial=trial)
    return HandedOverEvidence(
        described=described,
        trial=trial,
        suspicious=found.suspicious,
        agreeing=found.suspicious_hits,
        ordinary=found.ordinary,
        ordinary_agreeing=found.ordinary_hits,
        p_value=_adjusted(tried, best),
    )


def handed_over_section(tried: Tried | None, header: ProfileHeader, evidence: Evidence) -> HandedOverSection | None:
    """What the report says of them; None where none was tried."""
    if tried is None or tried.best is None or evidence.handed_over is None:
        return None
    best, rule, told = tried.best, tried.best.pattern.rule, evidence.handed_over
    outcome, compared = best.outcome, best.agreement is not None
    counts = {name: getattr(outcome, name) for name in ("images", "eligible", "moved", "low", "high", "flagged")}
    return HandedOverSection(
        audit_digest=tried.digest,
        patterns=tried.patterns,
        pattern=best.pattern.described,
        does=does(rule, header),
        target=rule.target,
        target_name=None if rule.target is None else header.class_names[rule.target],
        shift=rule.shift,
        **counts,
        flagged_before=outcome.control_flagged,
        trigger_like=load_rules().demonstration.shown(told.trial),
        suspicious=told.suspicious,
        suspicious_in_target=told.agreeing if compared else None,
        ordinary=told.ordinary,
        ordinary_in_target=told.ordinary_agreeing if compared else None,
        agreement_p=told.p_value,
        inputs=tried.agreeing,
        found=applies(evidence, load_rules()),
    )


def _adjusted(tried: Tried, best: TriedPattern) -> float | None:
    """The p-value, times the classes that were looked at (Bonferroni)."""
    return None if best.agreement is None else min(1.0, best.agreement.p_value * max(1, tried.targets))
