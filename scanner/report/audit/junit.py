"""JUnit XML of an audit: the model is a suite and every check a test case, which fails where it costs the exit code."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from scanner.report.audit.schema import AuditReport
from scanner.report.audit.words import found_rule
from scanner.report.junit import xml_text
from scanner.report.schema import CheckResult
from scanner.verdict.terms import CheckStatus

_COMPARED, _PATTERNS = "LS600", "LS605"


def junit_bytes(report: AuditReport) -> bytes:
    """The report as JUnit XML."""
    cases = [(check, *_outcome(check, report)) for check in report.checks]
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(kind == "failure" for _, kind, _ in cases)),
        "errors": "0",
    }
    skipped = str(sum(kind == "skipped" for _, kind, _ in cases))
    seconds = f"{report.run.duration_s or 0:.3f}"
    suites = Element("testsuites", {"name": "latentscan audit", **counts, "time": seconds})
    name, started = xml_text(report.model.name), report.run.started_at.removesuffix("Z")
    suite = SubElement(
        suites,
        "testsuite",
        {"name": name, **counts, "skipped": skipped, "time": seconds, "timestamp": started},
    )
    properties = SubElement(suite, "properties")
    for key, value in (
        ("outcome", report.verdict.outcome),
        ("severity", report.verdict.severity or "not assessed"),
        ("exit_code", str(report.verdict.exit_code)),
        ("model_sha256", report.model.sha256),
        ("report_digest", report.report_digest),
        ("tool", f"{report.tool.name} {report.tool.version}"),
    ):
        SubElement(properties, "property", {"name": key, "value": xml_text(value)})
    for check, kind, message in cases:
        attributes = {"name": f"{check.id} {xml_text(check.name)}", "classname": f"latentscan.{check.id}", "time": "0"}
        case = SubElement(suite, "testcase", attributes)
        if kind != "passed":
            outcome = SubElement(case, kind, {"message": xml_text(message)})
            if kind == "failure":
                outcome.set("type", check.id)
                outcome.text = xml_text("\n".join(report.verdict.reasons))
        SubElement(case, "system-out").text = xml_text(check.message)
    indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suites, encoding="unicode")}\n'.encode()


def _outcome(check: CheckResult, report: AuditReport) -> tuple[str, str]:
    """What becomes of a check: 'passed', 'failure' or 'skipped', and why."""
    if check.status is CheckStatus.PASSED:
        return "passed", ""
    if check.status is CheckStatus.NOT_ASSESSED:
        return "skipped", f"Not assessed: {check.message}"
    code, rule = report.verdict.exit_code, found_rule(report)
    decisive = {"LS601": _COMPARED, "LS602": _COMPARED, "LS606": _COMPARED, "LS603": _PATTERNS, "LS604": _PATTERNS}.get(
        rule or "", rule
    )
    if report.verdict.accepted is not None and check.id == decisive:
        accepted = report.verdict.accepted
        return "skipped", f"ACCEPTED until {accepted.expires}: {accepted.reason}. {check.message}"
    if (code == 1 and check.id == decisive) or (code == 3 and check.id in report.verdict.rule_ids):
        return "failure", check.message
    return "skipped", f"Reported only (fails on {report.verdict.fail_on}): {check.message}"
