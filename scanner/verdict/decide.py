"""From evidence to a verdict: severity, decision, confidence and exit code.

The verdict follows named checks, one after the other, and never an average. Every threshold is in
``rules.json``, whose version and SHA-256 go into the report.

Checks are of three kinds. Some make the evidence *usable* at all: without inputs, or for a model that does not even
classify the clean reference, no p-value means anything. Some make it *sufficient* for saying that nothing was found:
too few inputs, too many unreadable ones. They cannot weaken evidence that was found, so a batch that reaches the
severity to fail on fails, however many of its inputs were unreadable. The others lower only the confidence.

A clean batch, exchangeable with the reference, reaches 'high' with a probability of at most 0.001, because the batch
p-value is valid and the rule asks for 0.001.
"""

from __future__ import annotations

from scanner.verdict import checks
from scanner.verdict.rules import NO_FINDING, load_rules
from scanner.verdict.terms import Check, CheckStatus, Confidence, Decision, Evidence, ExitCode, FailOn, Verdict

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
        checks.coverage(evidence, max_unreadable),
        checks.significance_level(evidence),
        checks.power(evidence, fail_on, rules),
        checks.confidence(confidence, min_confidence),
    )
    is_usable = not _failed(usable)
    rule = next((rule for rule in rules.severity if rule.applies(evidence)), NO_FINDING)
    finding = checks.batch(evidence, rule, fail_on, rules, usable=is_usable)
    reached = is_usable and rule.severity.rank >= fail_on.gate.rank
    conclusive = reached or (is_usable and not _failed(sufficient))
    # The decisive sentence first: what was found, unless something else made the scan inconclusive.
    ordered = (finding, *_failed(sufficient)) if conclusive else (*_failed(usable), *_failed(sufficient), finding)
    fails = reached and fail_on is not FailOn.NEVER
    exit_code: ExitCode = (1 if fails else 0) if conclusive else 3
    failed = _failed((*usable, *sufficient, *sound))
    return Verdict(
        severity=rule.severity if is_usable else None,
        decision=rules.decision[rule.severity] if conclusive else Decision.INCONCLUSIVE,
        confidence=confidence,
        reasons=tuple(check.message for check in (*ordered, *_failed(sound))),
        rules=((rule.rule,) if is_usable else ()) + tuple(check.id for check in failed),
        checks=(finding, *usable, *sufficient, *sound),
        fail_on=fail_on,
        exit_code=exit_code,
        rules_version=rules.version,
        rules_sha256=rules.sha256,
    )


def _failed(outcomes: tuple[Check, ...]) -> tuple[Check, ...]:
    return tuple(check for check in outcomes if check.status is CheckStatus.FAILED)
