"""Findings: what was found where, with a fingerprint that survives repetition.

A fingerprint is of the rule's subject and of content (the model's digest, the class, the input's digest), never of
names, positions or p-values: moving a file or scanning more inputs leaves it as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from scanner.profile.header import ModelInfo
from scanner.report.schema import FINDING_RULES, BatchSection, Finding, InputRow
from scanner.verdict.catalogue import catalogue
from scanner.verdict.rules import load_rules
from scanner.verdict.structure import bypass_severity
from scanner.verdict.terms import Severity, Verdict

MODEL_RULES = FINDING_RULES["model"]
(CLASS_RULE,) = FINDING_RULES["class"]
INPUT_RULE, NOT_FINITE_INPUT_RULE = FINDING_RULES["input"]
BATCH_RULES = ("LS101", "LS102", "LS103", "LS104")
BYPASS_RULE = "LS501"
MAX_CLASSES = 100


def find(
    model: ModelInfo, batch: BatchSection, verdict: Verdict, top_inputs: Sequence[InputRow]
) -> tuple[Finding, ...]:
    """The findings of a scan, none of them suppressed.

    Args:
        model: The model.
        batch: What the inputs say together.
        verdict: The verdict.
        top_inputs: The most suspicious inputs; the flagged ones among them are findings.
    """
    return (*_about_model(model, verdict), *_about_classes(model, batch, verdict), *_about_inputs(model, top_inputs))


def fingerprint(rule: str, *content: str) -> str:
    """Identifier of a finding: SHA-256 over the rule and what identifies its subject."""
    return hashlib.sha256("\n".join(("latentscan finding 1", rule, *content)).encode()).hexdigest()


def _about_model(model: ModelInfo, verdict: Verdict) -> Iterator[Finding]:
    messages = {check.id: check.message for check in verdict.checks}
    for rule in verdict.rules:
        if rule in MODEL_RULES:
            # The batch's severity may differ from scan to scan of one model: the fingerprint does not depend on it.
            check = "LS100" if rule in BATCH_RULES else rule
            yield Finding(
                id=fingerprint(check, model.sha256),
                rule=rule,
                subject="model",
                severity=_severity(rule, model),
                message=messages[check],
                index=None,
                name=model.name,
                known=False,
                suppressed=None,
            )


def _severity(rule: str, model: ModelInfo) -> Severity:
    """Of a rule that applies to a model; one has several."""
    severity = None
    if rule == BYPASS_RULE and model.structure is not None:
        severity = bypass_severity(model.structure.known(), load_rules())
    return severity or catalogue()[rule].severity


def _about_classes(model: ModelInfo, batch: BatchSection, verdict: Verdict) -> Iterator[Finding]:
    if not any(rule in BATCH_RULES for rule in verdict.rules):
        return
    for target in batch.target_classes[:MAX_CLASSES]:
        yield Finding(
            id=fingerprint(CLASS_RULE, model.sha256, str(target.class_index)),
            rule=CLASS_RULE,
            subject="class",
            severity=catalogue()[CLASS_RULE].severity,
            message=f"{target.flagged} of {target.n} inputs predicted as this class are flagged "
            f"(adjusted p = {target.p_adjusted:.2g}).",
            index=target.class_index,
            name=target.class_name,
            known=False,
            suppressed=None,
        )


def _about_inputs(model: ModelInfo, top_inputs: Sequence[InputRow]) -> Iterator[Finding]:
    for row in top_inputs:
        if not row.flagged or row.sha256 is None or row.p_value is None:
            continue
        rule, message = INPUT_RULE, f"Flagged with p = {row.p_value:.2g}: its features do not look like the clean "
        message += "images of the class it is predicted as."
        if row.shared_units and row.density_p_value is not None:
            message = f"Flagged with p = {row.p_value:.2g} (its features alone: {row.density_p_value:.2g}): it shares "
            message += "units with other inputs that clean images do not."
        elif row.common_direction and row.density_p_value is not None:
            message = f"Flagged with p = {row.p_value:.2g} (its features alone: {row.density_p_value:.2g}): what is "
            message += "unusual about it is what distinguishes suspicious inputs of the batch from all others."
        if row.finite is False:
            rule = NOT_FINITE_INPUT_RULE
            what = "logits" if row.predicted is None else "scores"
            message = f"Flagged because its {what} are not finite, which those of no clean reference image are."
        yield Finding(
            id=fingerprint(rule, model.sha256, row.sha256),
            rule=rule,
            subject="input",
            severity=catalogue()[rule].severity,
            message=message,
            index=row.index,
            name=row.id,
            known=False,
            suppressed=None,
        )
