"""From what an audit found to a verdict: outcome, severity, decision and exit code.

A pattern that moves most clean images is a fact, whoever put it there, and is reported as one. Whether the network is
unusual is a statement about networks, and holds only beside clean ones of its kind. Neither alone proves a backdoor, so
no audit ends with 'critical'.

What was found counts whatever is missing. Finding nothing counts only where the search came to its end, and where clean
networks say what would have been unusual.
"""

from __future__ import annotations

from scanner.verdict import audit_checks as checks
from scanner.verdict.audit_rules import AuditRules, load_audit_rules
from scanner.verdict.audit_terms import AuditEvidence, AuditOutcome, AuditVerdict
from scanner.verdict.structure import graph_checks
from scanner.verdict.terms import Check, CheckStatus, Decision, ExitCode, FailOn, Severity

_Finding = tuple[AuditOutcome, str, Severity]


def decide_audit(evidence: AuditEvidence, fail_on: FailOn = FailOn.HIGH) -> AuditVerdict:
    """Apply the rules.

    Args:
        evidence: What the audit found.
        fail_on: The severity from which on the exit code is 1.
    """
    rules = load_audit_rules()
    usable = checks.clean_accuracy(evidence, rules)
    sufficient = (checks.complete(evidence), checks.enough_networks(evidence))
    patterns, compared = checks.strongest_pattern(evidence, rules), checks.among_networks(evidence)
    graph = graph_checks(evidence.structure)
    missing = tuple(check for check in (usable, *sufficient) if check.status is CheckStatus.FAILED)
    pattern = None if usable in missing else _finding(evidence, compared, rules)
    built = [(AuditOutcome.BUILT_IN, rule, severity) for _, rule, severity in graph if rule and severity]
    # The severest decides; of two that are as severe, what needs no image.
    found = sorted([*built, *((pattern,) if pattern else ())], key=lambda one: -one[2].rank)
    severity = found[0][2] if found else None if usable in missing else Severity.NONE
    reached = bool(found) and found[0][2].rank >= fail_on.gate.rank
    fails = reached and fail_on is not FailOn.NEVER
    exit_code: ExitCode = (1 if fails else 0) if reached or not missing else 3
    told = _told(pattern, patterns, compared, usable=usable not in missing)
    seen = tuple(check for check, rule, _ in graph if rule)
    outcome = found[0][0] if found else _nothing(missing)
    first = (*seen, *told) if outcome is AuditOutcome.BUILT_IN else (*told, *seen)
    ordered = (*first, *missing) if found or not missing else (*missing, *first)
    return AuditVerdict(
        outcome=outcome,
        severity=severity,
        decision=Decision.INCONCLUSIVE if severity is None or (missing and not found) else rules.decision[severity],
        reasons=tuple(dict.fromkeys(check.message for check in ordered)),
        rules=(*(rule for _, rule, _ in found), *(check.id for check in missing)),
        checks=(patterns, compared, *(check for check, _, _ in graph), usable, *sufficient),
        fail_on=fail_on,
        exit_code=exit_code,
        rules_version=rules.version,
        rules_sha256=rules.sha256,
    )


def _finding(evidence: AuditEvidence, compared: Check, rules: AuditRules) -> _Finding | None:
    """The severest rule that applies."""
    strong = checks.exploitable(evidence, rules)
    if compared.status is CheckStatus.FAILED:
        if strong:
            return AuditOutcome.EVIDENCE, *rules.evidence
        if checks.moves_one_class(evidence, rules):
            return AuditOutcome.EVIDENCE, *rules.one_class
        return AuditOutcome.ANOMALOUS, *rules.anomaly
    if not strong:
        return None
    exploitable = rules.patch if strong[0].is_patch else rules.picture
    severity = exploitable.alone if compared.status is CheckStatus.NOT_ASSESSED else exploitable.usual
    return AuditOutcome.EXPLOITABLE, exploitable.rule, severity


def _told(pattern: _Finding | None, patterns: Check, compared: Check, *, usable: bool) -> tuple[Check, ...]:
    """What is said of patterns and networks, the decisive one first; nothing that could not be assessed."""
    unusual = pattern is not None and pattern[0] is not AuditOutcome.EXPLOITABLE
    ordered = (compared, patterns) if unusual else (patterns, compared)
    return tuple(check for check in ordered if usable and check.status is not CheckStatus.NOT_ASSESSED)


def _nothing(missing: tuple[Check, ...]) -> AuditOutcome:
    if not missing:
        return AuditOutcome.NONE_FOUND
    only_networks = tuple(check.id for check in missing) == (checks.NETWORKS,)
    return AuditOutcome.UNCALIBRATED if only_networks else AuditOutcome.INCONCLUSIVE
