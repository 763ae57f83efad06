"""A CycloneDX bill of materials of an audit, like a scan's: the model, the clean images, and what was found."""

from __future__ import annotations

from pydantic import JsonValue

from scanner.report.audit.schema import AuditReport
from scanner.report.audit.words import found_rule
from scanner.report.cyclonedx import Found, Reference, bom_bytes, vulnerability
from scanner.report.findings import fingerprint
from scanner.verdict.terms import Severity


def cyclonedx_bytes(report: AuditReport) -> bytes:
    """The report as a CycloneDX bill of materials in JSON."""
    clean, verdict = report.clean, report.verdict
    reference = Reference("clean images", clean.digest, clean.images, clean.accuracy is not None, clean.accuracy)
    properties = {
        "decision": verdict.decision,
        "severity": verdict.severity or "not assessed",
        "outcome": verdict.outcome,
        "exit_code": str(verdict.exit_code),
        "report_digest": report.report_digest,
    }
    return bom_bytes(report, reference, properties, _vulnerabilities(report))


def _vulnerabilities(report: AuditReport) -> list[JsonValue]:
    rule = found_rule(report)
    if rule is None:
        return []
    severity = report.verdict.severity or Severity.NONE
    found = Found(fingerprint(rule, report.model.sha256), rule, severity, report.verdict.reasons[0])
    p_value = {} if report.networks is None else {"p_value": f"{report.networks.p_value:.6g}"}
    return [vulnerability(found, report, {"outcome": report.verdict.outcome, **p_value})]
