"""An in-toto Statement with a test-result predicate, unsigned: what a signing tool takes.

https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from scanner.base.text import printable
from scanner.profile.header import ModelInfo
from scanner.report.json_report import visible
from scanner.report.schema import CheckResult, Report
from scanner.verdict.terms import CheckStatus

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"

_RESULTS: dict[int, str] = {0: "PASSED", 1: "FAILED", 3: "WARNED"}


@dataclass(frozen=True)
class Tested:
    """What was tested, and how it went.

    Attributes:
        model: The model.
        checks: Every check.
        exit_code: That of the verdict.
        accepted: Whether somebody accepted what would have failed.
    """

    model: ModelInfo
    checks: Sequence[CheckResult]
    exit_code: int
    accepted: bool


def intoto_bytes(report: Report) -> bytes:
    """The report as an in-toto Statement about the model file."""
    verdict, rules = report.verdict, report.verdict.rules
    tested = Tested(report.model, report.checks, verdict.exit_code, verdict.accepted is not None)
    configuration = [
        resource(report.profile.name, report.profile.sha256, "profile"),
        resource("rules.json", rules.sha256, f"rules of the verdict, version {rules.version}"),
        *([resource("policy", report.policy.sha256, "settings of the gate")] if report.policy else []),
        *([resource(report.inputs.name, report.inputs.digest, "inputs")] if report.inputs.digest else []),
        resource("report", report.report_digest, _outcome(report)),
    ]
    return statement_bytes(tested, configuration)


def statement_bytes(tested: Tested, configuration: Sequence[JsonValue]) -> bytes:
    """The Statement as a file.

    The result follows the exit code: 0 PASSED, 1 FAILED, 3 (inconclusive) WARNED. A verdict that passes although a
    check failed, or because somebody accepted it, is WARNED as well.
    """
    text = json.dumps(_statement(tested, configuration), indent=2, sort_keys=True, ensure_ascii=False)
    return visible(text).encode() + b"\n"


def _statement(tested: Tested, configuration: Sequence[JsonValue]) -> dict[str, JsonValue]:
    names: dict[CheckStatus, list[JsonValue]] = {status: [] for status in CheckStatus}
    for check in tested.checks:
        names[check.status].append(check.id)
    result = _RESULTS[tested.exit_code]
    failed = names[CheckStatus.FAILED] + names[CheckStatus.ERROR]
    if result == "PASSED" and (failed or tested.accepted):
        result = "WARNED"
    fails = result == "FAILED"
    return {
        "_type": STATEMENT,
        "subject": [{"name": printable(tested.model.name), "digest": {"sha256": tested.model.sha256}}],
        "predicateType": PREDICATE,
        "predicate": {
            "result": result,
            "configuration": [*configuration],
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


def resource(name: str, sha256: str, what: str) -> JsonValue:
    """A file that the result depends on, by its digest."""
    return {"name": printable(name), "digest": {"sha256": sha256}, "annotations": {"what": what}}
