"""JUnit XML: the model is a suite and every check a test case, as Jenkins, GitLab and Azure read it.

A test case fails exactly when it is a reason for an exit code other than 0, so a pipeline that reads the file and one
that reads the exit code agree. A check that was not assessed is skipped, and so is one that failed without
consequence (it lowers the confidence, is reported only, or was accepted); its message says which. Nothing that failed
counts as passed. Warnings are the suite's output.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from scanner.base.text import printable
from scanner.report.schema import CheckResult, Report
from scanner.verdict.terms import FINDING_CHECKS, CheckStatus

# XML 1.0 has no place for these: printable() leaves none of the controls, and these two are no characters.
_NO_XML = {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}
_LIMIT = 4000


def junit_bytes(report: Report) -> bytes:
    """The report as JUnit XML."""
    cases = [(check, *_outcome(check, report)) for check in report.checks]
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(kind == "failure" for _, kind, _ in cases)),
        "errors": str(sum(kind == "error" for _, kind, _ in cases)),
        "skipped": str(sum(kind == "skipped" for _, kind, _ in cases)),
    }
    seconds = f"{report.run.duration_s or 0:.3f}"
    suites = Element("testsuites", {"name": "latentscan", **_without(counts, "skipped"), "time": seconds})
    name = xml_text(report.model.name)
    suite = SubElement(
        suites,
        "testsuite",
        {"name": name, **counts, "time": seconds, "timestamp": report.run.started_at.removesuffix("Z")},
    )
    properties = SubElement(suite, "properties")
    for key, value in _properties(report):
        SubElement(properties, "property", {"name": key, "value": xml_text(value)})
    for check, kind, message in cases:
        attributes = {"name": f"{check.id} {xml_text(check.name)}", "classname": f"latentscan.{check.id}", "time": "0"}
        case = SubElement(suite, "testcase", attributes)
        if kind != "passed":
            outcome = SubElement(case, kind, {"message": xml_text(message)})
            if kind != "skipped":
                outcome.set("type", check.id)
                outcome.text = xml_text("\n".join(report.verdict.reasons))
        SubElement(case, "system-out").text = xml_text(check.message)
    if report.warnings:
        SubElement(suite, "system-out").text = xml_text("\n".join(f"warning: {text}" for text in report.warnings))
    indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(suites, encoding="unicode")}\n'.encode()


def _outcome(check: CheckResult, report: Report) -> tuple[str, str]:
    """What becomes of a check: 'passed', 'failure', 'error' or 'skipped', and why."""
    verdict = report.verdict
    if check.status is CheckStatus.PASSED:
        return "passed", ""
    if check.status is CheckStatus.NOT_ASSESSED:
        return "skipped", f"Not assessed: {check.message}"
    if check.status is CheckStatus.ERROR:
        return "error", check.message
    if check.id in FINDING_CHECKS:
        if verdict.exit_code == 1:
            return "failure", check.message
        if verdict.accepted is not None:
            return "skipped", f"ACCEPTED until {verdict.accepted.expires}: {verdict.accepted.reason}. {check.message}"
        return "skipped", f"Reported only (fails on {verdict.fail_on}): {check.message}"
    if check.id.startswith("LS3"):
        return "skipped", f"Lowers the confidence: {check.message}"
    if verdict.exit_code:
        return "failure", check.message
    return "skipped", f"Without consequence, as the finding settles the scan: {check.message}"


def _properties(report: Report) -> list[tuple[str, str]]:
    severity = report.verdict.severity
    return [
        ("severity", "not assessed" if severity is None else severity),
        ("decision", report.verdict.decision),
        ("confidence", report.verdict.confidence),
        ("exit_code", str(report.verdict.exit_code)),
        ("model_sha256", report.model.sha256),
        ("profile_sha256", report.profile.sha256),
        ("inputs_scanned", str(report.inputs.scanned)),
        ("inputs_not_finite", str(report.inputs.not_finite)),
        ("inputs_unreadable", str(report.inputs.unreadable)),
        ("report_digest", report.report_digest),
        ("tool", f"{report.tool.name} {report.tool.version}"),
    ]


def _without(counts: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in counts.items() if key != name}


def xml_text(value: str) -> str:
    """Text as XML 1.0 can hold it, without anything invisible."""
    return "\n".join(printable(line, _LIMIT).translate(_NO_XML) for line in value.split("\n"))
