"""An in-toto Statement of an audit, unsigned, like a scan's."""

from __future__ import annotations

from scanner.base.text import printable
from scanner.report.audit.schema import AuditReport
from scanner.report.intoto import Tested, resource, statement_bytes


def intoto_bytes(report: AuditReport) -> bytes:
    """The report as an in-toto Statement about the model file."""
    verdict, rules, networks = report.verdict, report.verdict.rules, report.networks
    outcome = printable(f"{verdict.outcome}: severity {verdict.severity or 'not assessed'}, {verdict.decision}")
    accepted = verdict.accepted
    if accepted is not None:
        outcome += printable(f"; accepted until {accepted.expires} by {accepted.source}: {accepted.reason}")
    configuration = [
        resource("audit_rules.json", rules.sha256, f"rules of the verdict, version {rules.version}"),
        *([resource("policy", report.policy.sha256, "settings of the gate")] if report.policy else []),
        resource(report.clean.name, report.clean.digest, "clean images"),
        *([] if networks is None else [resource("clean networks", networks.sha256, printable(networks.source))]),
        resource("report", report.report_digest, outcome),
    ]
    return statement_bytes(Tested(report.model, report.checks, verdict.exit_code, accepted is not None), configuration)
