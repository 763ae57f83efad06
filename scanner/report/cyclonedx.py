"""A CycloneDX 1.6 bill of materials: the model, the clean reference, and the finding as a vulnerability in triage.

https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from scanner.base.text import printable
from scanner.profile.header import ModelInfo
from scanner.report.json_report import visible
from scanner.report.schema import Finding, Report, RunSection, Suppression, ToolSection
from scanner.report.schema.taxonomy import Taxonomy
from scanner.verdict.catalogue import catalogue
from scanner.verdict.terms import Severity

_NAMESPACE = uuid.UUID("6f1f0a3e-7f0c-5d0e-9a51-1d2c1f6d7a10")
_MODEL, _REFERENCE, _TOOL = "model", "reference", "latentscan"


class Judged(Protocol):
    """A verdict of any kind of report."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences, the decisive one first."""

    @property
    def accepted(self) -> Suppression | None:
        """Who let it pass the gate."""


class Reported(Protocol):
    """What a bill of materials takes from any kind of report."""

    @property
    def tool(self) -> ToolSection:
        """The program."""

    @property
    def run(self) -> RunSection:
        """When it ran."""

    @property
    def model(self) -> ModelInfo:
        """The model."""

    @property
    def verdict(self) -> Judged:
        """What follows."""

    @property
    def taxonomy(self) -> Taxonomy:
        """Where findings belong in published catalogues."""

    @property
    def limitations(self) -> tuple[str, ...]:
        """What it cannot tell."""

    @property
    def report_digest(self) -> str:
        """Digest of the report."""


@dataclass(frozen=True)
class Reference:
    """Clean images that the result rests on.

    Attributes:
        name: What they are called.
        digest: Over their content.
        images: How many there are.
        labelled: Whether they have labels.
        accuracy: Of the model on them; None where it is unknown.
    """

    name: str
    digest: str
    images: int
    labelled: bool
    accuracy: float | None


@dataclass(frozen=True)
class Found:
    """A finding about the model.

    Attributes:
        fingerprint: Its identifier.
        rule: The rule.
        severity: Its severity.
        message: What was found.
    """

    fingerprint: str
    rule: str
    severity: Severity
    message: str


def cyclonedx_bytes(report: Report) -> bytes:
    """The report as a CycloneDX bill of materials in JSON."""
    reference = report.reference
    described = Reference(
        "clean reference", reference.digest, reference.images, reference.labelled, reference.clean_accuracy
    )
    properties = {
        "decision": report.verdict.decision,
        "severity": report.verdict.severity or "not assessed",
        "confidence": report.verdict.confidence,
        "exit_code": str(report.verdict.exit_code),
        "report_digest": report.report_digest,
        "profile_sha256": report.profile.sha256,
    }
    return bom_bytes(report, described, properties, [_vulnerability(one, report) for one in _about_model(report)])


def bom_bytes(
    report: Reported,
    reference: Reference,
    properties: Mapping[str, str],
    vulnerabilities: Sequence[JsonValue],
) -> bytes:
    """The bill of materials as a file. Its serial number follows from the report's digest."""
    bom = _bom(report, reference, properties, vulnerabilities)
    return visible(json.dumps(bom, indent=2, sort_keys=True, ensure_ascii=False)).encode() + b"\n"


def _bom(
    report: Reported,
    reference: Reference,
    properties: Mapping[str, str],
    vulnerabilities: Sequence[JsonValue],
) -> dict[str, JsonValue]:
    tool: dict[str, JsonValue] = {
        "type": "application",
        "bom-ref": _TOOL,
        "name": report.tool.name,
        "version": report.tool.version,
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, report.report_digest)}",
        "version": 1,
        "metadata": {
            "timestamp": report.run.started_at,
            "tools": {"components": [tool]},
            "component": _model(report, reference),
            "properties": named(properties),
        },
        "components": [_reference(reference)],
        "dependencies": [{"ref": _MODEL, "dependsOn": [_REFERENCE]}, {"ref": _REFERENCE}],
        "vulnerabilities": [*vulnerabilities],
    }


def _model(report: Reported, reference: Reference) -> dict[str, JsonValue]:
    model = report.model
    parameters: dict[str, JsonValue] = {
        "task": "image classification",
        "datasets": [{"ref": _REFERENCE}],
        "inputs": [{"format": "image"}],
        "outputs": [{"format": "class scores"}],
    }
    if model.architecture is not None:
        parameters["modelArchitecture"] = printable(model.architecture)
    card: dict[str, JsonValue] = {
        "modelParameters": parameters,
        "considerations": {"technicalLimitations": [printable(text) for text in report.limitations]},
    }
    if reference.accuracy is not None:
        metric: dict[str, JsonValue] = {
            "type": "accuracy",
            "value": f"{reference.accuracy:.6g}",
            "slice": reference.name,
        }
        card["quantitativeAnalysis"] = {"performanceMetrics": [metric]}
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": printable(model.name),
        "description": printable(model.description),
        "hashes": [{"alg": "SHA-256", "content": model.sha256}],
        "modelCard": card,
        "properties": named({"format": printable(model.format), "size": str(model.size)}),
    }


def _reference(reference: Reference) -> dict[str, JsonValue]:
    return {
        "type": "data",
        "bom-ref": _REFERENCE,
        "name": reference.name,
        "hashes": [{"alg": "SHA-256", "content": reference.digest}],
        "data": [{"type": "dataset", "name": reference.name, "contents": {"properties": []}}],
        "properties": named({"images": str(reference.images), "labelled": str(reference.labelled).lower()}),
    }


def _about_model(report: Report) -> list[Finding]:
    return [finding for finding in report.findings if finding.subject == "model"]


def _vulnerability(finding: Finding, report: Report) -> JsonValue:
    targets = [printable(other.name) for other in report.findings if other.subject == "class"]
    properties = {
        "confidence": report.verdict.confidence,
        "batch_p_value": f"{report.batch.p_value:.6g}",
        "inputs_not_finite": str(report.inputs.not_finite),
        **{f"target_class.{i}": name for i, name in enumerate(targets)},
    }
    return vulnerability(Found(finding.id, finding.rule, finding.severity, finding.message), report, properties)


def vulnerability(found: Found, report: Reported, properties: Mapping[str, str]) -> JsonValue:
    """A finding about the model."""
    rule, reasons = catalogue()[found.rule], [printable(reason) for reason in report.verdict.reasons]
    others = {f"taxonomy.{entry.id}": f"{entry.framework}: {entry.name}" for entry in report.taxonomy.entries}
    accepted = report.verdict.accepted
    if accepted is not None:
        others["accepted"] = printable(f"until {accepted.expires} by {accepted.source}: {accepted.reason}")
    return {
        "bom-ref": f"finding-{found.fingerprint[:16]}",
        "id": found.rule,
        "source": {"name": report.tool.name},
        "ratings": [
            {
                "source": {"name": report.tool.name},
                "severity": found.severity if found.severity is not Severity.NONE else "none",
                "method": "other",
                "justification": printable(found.message),
            }
        ],
        "description": f"{rule.title}. {rule.what}",
        "detail": "\n".join(reasons),
        "recommendation": rule.act,
        "created": report.run.started_at,
        "tools": {"components": [{"type": "application", "name": report.tool.name, "version": report.tool.version}]},
        "analysis": {"state": "in_triage", "detail": reasons[0]},
        "affects": [{"ref": _MODEL}],
        "properties": named({"fingerprint": found.fingerprint, **properties, **others}),
    }


def named(values: Mapping[str, str]) -> list[JsonValue]:
    """Values as properties, under this program's name."""
    return [{"name": f"latentscan:{name}", "value": str(value)} for name, value in values.items()]
