"""From evidence to a verdict: severity, decision, confidence and exit code.

The verdict follows named checks, one after the other, and never an average. Every threshold is in
``rules.json``, whose version and SHA-256 go into the report.

Checks are of three kinds. Some make the evidence *usable* at all: without inputs, or for a model that does not even
classify the clean reference, no p-value means anything. Some make it *sufficient* for saying that nothing was found:
too few inputs, too many unreadable ones. They cannot weaken evidence that was found, so a batch that reaches the
severity to fail on fails, however many of its inputs were unreadable. The others lower only the confidence.

There are five kinds of findings. The batch test compares densities' p-values and shared units; a clean batch,
exchangeable with the reference, reaches 'high' by it with a probability of at most 0.001, because the batch p-value is
valid and the rule asks for 0.001. Outputs that are not finite are another: `fit` refuses a network that has such an
output on a clean image, so a single one is enough, and no p-value is involved. A trigger that was shown is the third:
what flagged inputs share moves clean images to one class, or by one rule, and what ordinary inputs share does not. The
fourth is the network's graph, which is looked at before any image is. The fifth is a pattern that an audit of the model
found: one that moves clean images as a trigger does, and whose class flagged inputs end in more often than others.

A batch that is not exchangeable with the reference need not hold triggers: another camera does the same. What tells
them apart are the inputs that are not flagged. A trigger is in a part of the batch, and the rest is ordinary; drift
moves everybody. So without a shown trigger the batch test counts only where the rest is like the reference.
"""

from __future__ import annotations

from scanner.verdict import checks, copies, demonstration, findings, handed_over, rest
from scanner.verdict.rules import Rules, load_rules
from scanner.verdict.structure import structure_findings
from scanner.verdict.terms import (
    Check,
    CheckStatus,
    Confidence,
    Decision,
    Evidence,
    ExitCode,
    FailOn,
    Severity,
    Verdict,
)

DEFAULT_MAX_UNREADABLE = 0.1


def decide(
    evidence: Evidence,
    fail_on: FailOn = FailOn.HIGH,
    max_unreadable: float = DEFAULT_MAX_UNREADABLE,
    min_confidence: Confidence = Confidence.PROVISIONAL,
) -> Verdict:
    """Apply the rules.

    Args:
        evidence: What the scan found.
        fail_on: The severity from which on the exit code is 1. With 'never' it is not 1, and still 3 where the scan
            was inconclusive: a scan that could not have found anything must not look like one that found nothing.
        max_unreadable: Largest share of unreadable inputs at which the absence of findings counts.
        min_confidence: Least confidence at which the absence of findings counts.
    """
    rules = load_rules()
    usable = (checks.inputs_scanned(evidence), checks.clean_accuracy(evidence, rules))
    sound = (
        checks.labels(evidence),
        checks.calibration_size(evidence, rules),
        checks.class_size(evidence, rules),
        checks.export_parity(evidence, rules),
        checks.self_checks(evidence),
    )
    confidence = Confidence.PROVISIONAL if _failed(sound) else Confidence.CALIBRATED
    sufficient = (
        rest.like_the_reference(evidence, rules),
        checks.coverage(evidence, max_unreadable),
        checks.significance_level(evidence),
        checks.power(evidence, fail_on, rules),
        checks.confidence(confidence, min_confidence),
        *checks.complete(evidence),
    )
    is_usable = not _failed(usable)
    found = _findings(evidence, fail_on, rules, usable=is_usable)
    severity = max((severity for _, _, severity in found if severity), key=lambda one: one.rank, default=None)
    reached = severity is not None and severity.rank >= fail_on.gate.rank
    fails = reached and fail_on is not FailOn.NEVER
    # Part of a scan never passes, not even where no finding would fail.
    settled = fails if evidence.inputs_missing else reached
    conclusive = settled or (is_usable and not _failed(sufficient))
    noted = (copies.repeated_inputs(evidence, rules),)
    sentences = _sentences(found, evidence, severity)
    missing = (*_failed(usable), *_failed(sufficient))
    # The decisive sentence first: what was found, unless something else made the scan inconclusive.
    ordered = (*sentences, *missing) if conclusive else (*missing, *sentences)
    exit_code: ExitCode = (1 if fails else 0) if conclusive else 3
    failed = _failed((*usable, *sufficient, *noted, *sound))
    return Verdict(
        severity=severity,
        decision=rules.decision[severity] if conclusive and severity is not None else _undecided(missing),
        confidence=confidence,
        reasons=tuple(check.message for check in (*ordered, *_failed((*noted, *sound)))),
        rules=(*(rule for _, rule, _ in found if rule), *(check.id for check in failed)),
        checks=(
            *sorted((check for check, _, _ in found), key=lambda check: check.id),
            *usable,
            *sufficient,
            *noted,
            *sound,
        ),
        fail_on=fail_on,
        exit_code=exit_code,
        rules_version=rules.version,
        rules_sha256=rules.sha256,
    )


_Finding = tuple[Check, str | None, Severity | None]
"""A check about a finding, and the rule that applied with its severity: None where none did."""


def _findings(evidence: Evidence, fail_on: FailOn, rules: Rules, *, usable: bool) -> list[_Finding]:
    """What the p-values say where they can be used, and what needs none; the severest first."""
    compared = usable and evidence.inputs_compared > 0
    rule = rest.admissible(evidence, rules) if compared else None
    batch = findings.batch(evidence, rule, fail_on, rules, assessable=compared)
    found: list[_Finding] = [(batch, None, None) if rule is None else (batch, rule.rule, rule.severity)]
    shown = rules.demonstration.applies(evidence)
    trigger = demonstration.trigger_shown(evidence, rules)
    # Before the batch: an experiment says more than a p-value.
    applied = (rules.demonstration.rule, rules.demonstration.severity) if shown else (None, None)
    found.insert(0, (trigger, *applied))
    handed = (rules.handed_over.rule, rules.handed_over.severity)
    behind = compared and handed_over.applies(evidence, rules)
    for check in handed_over.audit_pattern(evidence, rules):
        found.append((check, *(handed if behind else (None, None))))
    finite = findings.finite_outputs(evidence, rules)
    applied = (rules.not_finite.rule, rules.not_finite.severity) if rules.not_finite.applies(evidence) else (None, None)
    found.append((finite, *applied))
    found += structure_findings(evidence, rules)
    found.sort(key=lambda one: 0 if one[2] is None else -one[2].rank)
    # The same evidence as the batch's: it says where, and its severity is that of both tests together.
    found.append((findings.shared_units(evidence, fail_on, rules, usable=rule is not None), None, None))
    return found


def _sentences(found: list[_Finding], evidence: Evidence, severity: Severity | None) -> tuple[Check, ...]:
    """What was found, and where something was, what belongs to it: an attempt to show a trigger, and shared units."""
    told = {"LS100"}
    if severity is not None and severity is not Severity.NONE:
        told |= {"LS120"} if evidence.demonstration is not None else set()
        told |= {"LS113"} if evidence.units is not None and evidence.units.counted else set()
    applied = tuple(check for check, rule, _ in found if rule or check.id == "LS100")
    return (*applied, *(check for check, _, _ in found if check.id in told and check not in applied))


def _undecided(missing: tuple[Check, ...]) -> Decision:
    """What to do where nothing follows: to look at inputs that are unlike the reference, if it is only that."""
    return Decision.REVIEW if tuple(check.id for check in missing) == (rest.LIKE,) else Decision.INCONCLUSIVE


def _failed(outcomes: tuple[Check, ...]) -> tuple[Check, ...]:
    return tuple(check for check in outcomes if check.status is CheckStatus.FAILED)
