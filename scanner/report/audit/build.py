"""Put the report of an audit together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import scanner
from scanner.base.versions import library_versions
from scanner.report.audit.schema import AuditReport, AuditVerdictSection
from scanner.report.json_report import document, report_digest
from scanner.report.schema import CheckResult, RulesInfo, RunSection, Suppression, ToolSection
from scanner.report.taxonomy import load_taxonomy
from scanner.verdict.audit_terms import AuditVerdict

LIMITATIONS = (
    "Only triggers that the patterns which were tried resemble can be noticed: patches, gratings, noise, tints and "
    "warps. A verdict of 'none found' does not prove that the model has no backdoor.",
    "A pattern that moves most clean images is a measured property of the model. It does not say who put it there: "
    "clean training can.",
    "The comparison holds for networks that were made like the clean ones: the same kind of images, classes and "
    "training. At level alpha, clean networks are called unusual with a probability of alpha, on average over the "
    "clean networks that they are compared with.",
    "Patterns are put on images as the network sees them, after resizing and cropping.",
)


def build_audit(verdict: AuditVerdict, run: RunSection, parts: Mapping[str, Any]) -> AuditReport:
    """The finished report, digest included.

    Args:
        verdict: From `decide_audit`.
        run: From `describe_run`.
        parts: The sections about what was audited, tried and found, by their names in the report.
    """
    report = AuditReport(
        tool=ToolSection(name="latentscan", version=scanner.__version__, libraries=dict(library_versions())),
        run=run,
        checks=tuple(CheckResult(**dataclasses.asdict(check)) for check in verdict.checks),
        verdict=AuditVerdictSection(
            outcome=verdict.outcome,
            severity=verdict.severity,
            decision=verdict.decision,
            reasons=verdict.reasons,
            rule_ids=verdict.rules,
            fail_on=verdict.fail_on,
            exit_code=verdict.exit_code,
            accepted=None if verdict.accepted is None else Suppression(**dataclasses.asdict(verdict.accepted)),
            rules=RulesInfo(version=verdict.rules_version, sha256=verdict.rules_sha256),
        ),
        taxonomy=load_taxonomy(),
        limitations=LIMITATIONS,
        report_digest="0" * 64,
        **parts,
    )
    return report.model_copy(update={"report_digest": report_digest(document(report))})
