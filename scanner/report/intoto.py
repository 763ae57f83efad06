"""An in-toto Statement with a test-result predicate, unsigned: what a signing tool takes.

https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
"""

from __future__ import annotations

import json

from pydantic import JsonValue

from scanner.base.text import printable
from scanner.report.json_report import visible
from scanner.report.schema import Report
from scanner.verdict.terms import CheckStatus

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"

_RESULTS: dict[int, str] = {0: "PASSED", 1: "FAILED", 3: "WARNED"}


def intoto_bytes(report: Report) -> bytes:
    """The report as an in-toto Statement about the model file."""
    text = json.dumps(statement(report), indent=2, sort_keys=True, ensure_ascii=False)
    return visible(text).encode() + b"\n"


def statement(report: Report) -> dict[str, JsonValue]:
    """The Statement as plain values.

    The result follows the exit code: 0 PASSED, 1 FAILED, 3 (inconclusive) WARNED. A verdict that passes although a
    check failed, or because somebody accepted it, is WARNED as well.
    """
    names: dict[CheckStatus, list[JsonValue]] = {status: [] for status in CheckStatus}
    for check in report.checks:
        names[check.status].append(check.id)
    result = _RESULTS[report.verdict.exit_code]
    failed = names[CheckStatus.FAILED] + names[CheckStatus.ERROR]
    if result == "PASSED" and (failed or report.verdict.accepted is not None):
        result = "WARNED"
    fails = result == "FAILED"
    rules = report.verdict.rules
    return {
        "_type": STATEMENT,
        "subject": [{"name": printable(report.model.name), "digest": {"sha256": report.model.sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "result": result,
            "configuration": [
                _resource(report.profile.name, report.profile.sha256, "profile"),
                _resource("rules.json", rules.sha256, f"rules of the verdict, version {rules.version}"),
                *([_resource("policy", report.policy.sha256, "settings of the gate")] if report.policy else []),
                *([_resource(report.inputs.name, report.inputs.digest, "inputs")] if report.inputs.digest else []),
                _resource("report", report.report_digest, _outcome(report)),
            ],
            "passedTests": names[CheckStatus.PASSED],
            "warnedTests": names[CheckStatus.NOT_ASSESSED] + ([] if fails else failed),
            "failedTests": failed if fails else [],
        },
    }


def _outcome(report: Report) -> str:
    """The verdict in a few words, beside the report's digest."""
    verdict = report.verdict
    text = f"severity {verdict.severity or 'not assessed'}, {verdict.decision}, {verdict.confidence}"
    if verdict.accepted is not None:
        text += f"; accepted until {verdict.accepted.expires} by {verdict.accepted.source}: {verdict.accepted.reason}"
    return printable(text)


def _resource(name: str, sha256: str, what: str) -> dict[str, JsonValue]:
    return {"name": printable(name), "digest": {"sha256": sha256}, "annotations": {"what": what}}
