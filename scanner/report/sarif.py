"""SARIF 2.1.0, within the rules and limits of GitHub code scanning.

One result about the model, one for each suspected target class and at most 200 about inputs; everything else is counted
in the run's properties. What was not scanned, every check that did not pass and every warning is a notification of the
tool. There are no lines in a model file or an image, so every region is the first character.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import json
from urllib.parse import quote

from pydantic import JsonValue

from scanner.base.text import printable
from scanner.report.json_report import visible
from scanner.report.schema import FINDING_RULES, Finding, Report, Suppression
from scanner.verdict.catalogue import RuleText, catalogue
from scanner.verdict.terms import FINDING_CHECKS, CheckStatus, Severity

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MAX_INPUTS = 200
MAX_NOTIFICATIONS = 200
FINGERPRINT = "primaryLocationLineHash"

_RULES = tuple(sorted(rule for rules in FINDING_RULES.values() for rule in rules))
_OF_AUDITS = "LS6"
LEVELS = {
    Severity.NONE: "none",
    Severity.LOW: "note",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "error",
}
# GitHub: over 9.0 is critical, from 7.0 high, from 4.0 medium, below low.
SECURITY_SEVERITY = {Severity.LOW: "3.0", Severity.MEDIUM: "5.0", Severity.HIGH: "8.0", Severity.CRITICAL: "9.5"}
_SUBJECTS = {"model": ("model", "training data"), "class": ("model",), "input": ("input",)}

Object = dict[str, JsonValue]


def sarif_bytes(report: Report) -> bytes:
    """The report as SARIF."""
    log: Object = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report)]}
    return visible(json.dumps(log, indent=2, sort_keys=True, ensure_ascii=False)).encode() + b"\n"


def _run(report: Report) -> Object:
    shown = [finding for finding in report.findings if finding.subject != "input"]
    inputs = [finding for finding in report.findings if finding.subject == "input"]
    shown += inputs[:MAX_INPUTS]
    verdict = report.verdict
    invocation: Object = {
        "executionSuccessful": verdict.exit_code != 3,
        "exitCode": verdict.exit_code,
        "startTimeUtc": report.run.started_at,
        "toolExecutionNotifications": _notifications(report),
    }
    return {
        "tool": {
            "driver": {
                "name": report.tool.name,
                "version": report.tool.version,
                "semanticVersion": report.tool.version,
                "rules": [_rule(catalogue()[id], report) for id in _RULES],
                "notifications": [
                    {"id": rule.id, "name": rule.name, "shortDescription": {"text": f"{rule.title}."}}
                    for rule in catalogue().values()
                    if rule.id not in _RULES and not rule.id.startswith(_OF_AUDITS)
                ],
                "supportedTaxonomies": [{"name": name} for name in sorted(report.taxonomy.frameworks)],
            }
        },
        "automationDetails": {"id": f"latentscan/{report.model.sha256[:16]}/"},
        "columnKind": "unicodeCodePoints",
        "artifacts": [
            {
                "location": {"uri": uri(report.model.name)},
                "length": report.model.size,
                "hashes": {"sha-256": report.model.sha256},
            }
        ],
        "invocations": [invocation],
        "taxonomies": _taxonomies(report),
        "results": [_result(finding, report) for finding in shown],
        "properties": {
            "severity": verdict.severity,
            "decision": verdict.decision,
            "confidence": verdict.confidence,
            "reasons": [printable(reason) for reason in verdict.reasons],
            "reportDigest": report.report_digest,
            "profileSha256": report.profile.sha256,
            "inputsScanned": report.inputs.scanned,
            "inputsNotFinite": report.inputs.not_finite,
            "inputsUnreadable": report.inputs.unreadable,
            "inputsFlagged": report.batch.flagged,
            "inputResultsLeftOut": max(report.batch.flagged + report.inputs.not_finite - len(inputs[:MAX_INPUTS]), 0),
            "batchPValue": report.batch.p_value,
        },
    }


def uri(*parts: str) -> str:
    """A relative reference: percent-encoded, without any part that would climb out.

    >>> uri("inputs", "a b/../c.png")
    'inputs/a%20b/%2E%2E/c.png'
    """
    names = [name for part in parts for name in printable(part).split("/") if name]
    return "/".join("%2E" * len(name) if name in (".", "..") else quote(name, safe="") for name in names) or "unnamed"


def _rule(rule: RuleText, report: Report) -> Object:
    subject = "model" if rule.id in FINDING_RULES["model"] else "input"
    tags: list[JsonValue] = ["security", "machine-learning"]
    tags += [entry.id for entry in report.taxonomy.entries if entry.subject in _SUBJECTS[subject]][:8]
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": rule.what},
        "help": {
            "text": f"{rule.what}\n\n{rule.act}",
            "markdown": f"{rule.what}\n\n**What to do.** {rule.act}",
        },
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {
            "security-severity": SECURITY_SEVERITY[rule.severity],
            "precision": "high" if subject == "model" else "medium",
            "problem.severity": "error" if rule.severity.rank >= 3 else "warning",
            "tags": tags,
        },
    }


def _result(finding: Finding, report: Report) -> Object:
    result: Object = {
        "ruleId": finding.rule,
        "ruleIndex": _RULES.index(finding.rule),
        "level": LEVELS[finding.severity],
        "kind": "fail",
        "message": {"text": _message(finding)},
        "locations": [_location(finding, report)],
        "partialFingerprints": {FINGERPRINT: finding.id},
        "fingerprints": {"latentscan/v1": finding.id},
        "properties": {"confidence": report.verdict.confidence, "subject": finding.subject},
    }
    if report.policy is not None and report.policy.baseline_sha256 is not None:
        result["baselineState"] = "unchanged" if finding.known else "new"
    if finding.suppressed is not None:
        result["suppressions"] = [suppression(finding.suppressed)]
    return result


def suppression(suppressed: Suppression) -> Object:
    """Why a finding counts no longer."""
    return {
        "kind": "external",
        "status": "accepted",
        "justification": printable(suppressed.reason),
        "properties": {"expires": suppressed.expires, "source": printable(suppressed.source)},
    }


def _message(finding: Finding) -> str:
    name = printable(finding.name, 200)
    about = {"model": f"Model {name}", "class": f"Class {name}", "input": f"Input {name}"}[finding.subject]
    # Square brackets would be links.
    return f"{about}: {finding.message}".replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")


def _location(finding: Finding, report: Report) -> Object:
    where = uri(report.inputs.name, finding.name) if finding.subject == "input" else uri(report.model.name)
    location: Object = {
        "physicalLocation": {
            "artifactLocation": {"uri": where},
            "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1},
        }
    }
    if finding.subject == "class":
        qualified = f"{printable(report.model.name, 200)}::class={printable(finding.name, 200)}"
        location["logicalLocations"] = [{"fullyQualifiedName": qualified, "kind": "member"}]
    return location


def _notifications(report: Report) -> list[JsonValue]:
    """What was not scanned, every check that did not pass, and every warning."""
    notes: list[JsonValue] = []
    for check in report.checks:
        if check.id in FINDING_CHECKS or check.status is CheckStatus.PASSED:
            continue
        level = "error" if check.status is CheckStatus.FAILED and check.id.startswith("LS2") else "warning"
        notes.append(_note(check.id, level, f"{check.status.replace('_', ' ')}: {check.message}"))
    for unreadable in report.inputs.unreadable_inputs[:MAX_NOTIFICATIONS]:
        note = _note("LS203", "warning", f"Not scanned ({printable(unreadable.reason)}): {unreadable.detail}")
        where: Object = {"artifactLocation": {"uri": uri(report.inputs.name, unreadable.id)}}
        note["locations"] = [{"physicalLocation": where}]
        notes.append(note)
    more = report.inputs.unreadable - len(report.inputs.unreadable_inputs[:MAX_NOTIFICATIONS])
    if more > 0:
        notes.append(_note("LS203", "warning", f"{more} more inputs could not be read."))
    if report.inputs.ignored:
        notes.append(_note("LS201", "note", f"{report.inputs.ignored} files are no images by their name."))
    notes += [{"level": "note", "message": {"text": printable(text, 2000)}} for text in report.warnings]
    return notes


def _note(rule: str, level: str, text: str) -> Object:
    return {"descriptor": {"id": rule}, "level": level, "message": {"text": printable(text, 2000)}}


def _taxonomies(report: Report) -> list[JsonValue]:
    return [
        {
            "name": name,
            "version": version,
            "taxa": [
                {"id": entry.id, "name": entry.name, "shortDescription": {"text": f"{entry.name}."}}
                for entry in report.taxonomy.entries
                if entry.framework == name
            ],
        }
        for name, version in sorted(report.taxonomy.frameworks.items())
    ]
