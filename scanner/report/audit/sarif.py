"""SARIF 2.1.0 of an audit: one result about the model where something was found, and checks as notifications."""

from __future__ import annotations

import json

from scanner.base.text import printable
from scanner.report.audit.schema import AuditReport
from scanner.report.audit.words import FINDING_RULES, found_rule
from scanner.report.findings import fingerprint
from scanner.report.json_report import visible
from scanner.report.sarif import FINGERPRINT, LEVELS, SCHEMA, SECURITY_SEVERITY, Object, suppression, uri
from scanner.verdict.catalogue import RuleText, catalogue
from scanner.verdict.terms import CheckStatus


def sarif_bytes(report: AuditReport) -> bytes:
    """The report as SARIF."""
    log: Object = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report)]}
    return visible(json.dumps(log, indent=2, sort_keys=True, ensure_ascii=False)).encode() + b"\n"


def _run(report: AuditReport) -> Object:
    verdict = report.verdict
    rule = found_rule(report)
    return {
        "tool": {
            "driver": {
                "name": report.tool.name,
                "version": report.tool.version,
                "semanticVersion": report.tool.version,
                "rules": [_rule(catalogue()[id]) for id in FINDING_RULES],
                "notifications": [
                    {"id": known.id, "name": known.name, "shortDescription": {"text": f"{known.title}."}}
                    for known in catalogue().values()
                    if known.id in {check.id for check in report.checks}
                ],
            }
        },
        "automationDetails": {"id": f"latentscan-audit/{report.model.sha256[:16]}/"},
        "columnKind": "unicodeCodePoints",
        "artifacts": [
            {
                "location": {"uri": uri(report.model.name)},
                "length": report.model.size,
                "hashes": {"sha-256": report.model.sha256},
            }
        ],
        "invocations": [
            {
                "executionSuccessful": verdict.exit_code != 3,
                "exitCode": verdict.exit_code,
                "startTimeUtc": report.run.started_at,
                "toolExecutionNotifications": [
                    {
                        "descriptor": {"id": check.id},
                        "level": "warning",
                        "message": {"text": f"{check.status.replace('_', ' ')}: {printable(check.message, 1900)}"},
                    }
                    for check in report.checks
                    if check.status is not CheckStatus.PASSED
                ],
            }
        ],
        "results": [] if rule is None else [_result(rule, report)],
        "properties": {
            "outcome": verdict.outcome,
            "severity": verdict.severity,
            "decision": verdict.decision,
            "reasons": [printable(reason) for reason in verdict.reasons],
            "reportDigest": report.report_digest,
            "passes": report.search.passes,
            "pValue": None if report.networks is None else report.networks.p_value,
        },
    }


def _rule(rule: RuleText) -> Object:
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": rule.what},
        "help": {"text": f"{rule.what}\n\n{rule.act}", "markdown": f"{rule.what}\n\n**What to do.** {rule.act}"},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {
            "security-severity": SECURITY_SEVERITY[rule.severity],
            "precision": "medium",
            "problem.severity": "error" if rule.severity.rank >= 3 else "warning",
            "tags": ["security", "machine-learning"],
        },
    }


def _result(rule: str, report: AuditReport) -> Object:
    severity = report.verdict.severity
    name = printable(report.model.name, 200)
    # Square brackets would be links.
    message = f"Model {name}: {report.verdict.reasons[0]}".replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    found = fingerprint(rule, report.model.sha256)
    accepted = report.verdict.accepted
    return {
        **({} if accepted is None else {"suppressions": [suppression(accepted)]}),
        "ruleId": rule,
        "ruleIndex": FINDING_RULES.index(rule),
        "level": "none" if severity is None else LEVELS[severity],
        "kind": "fail",
        "message": {"text": message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri(report.model.name)},
                    "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1},
                }
            }
        ],
        "partialFingerprints": {FINGERPRINT: found},
        "fingerprints": {"latentscan/v1": found},
    }
