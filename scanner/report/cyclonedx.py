"""A CycloneDX 1.6 bill of materials: the model, the clean reference, and the finding as a vulnerability in triage.

https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import json
import uuid

from pydantic import JsonValue

from scanner.base.text import printable
from scanner.report.json_report import visible
from scanner.report.schema import Finding, Report
from scanner.verdict.catalogue import catalogue
from scanner.verdict.terms import Severity

_NAMESPACE = uuid.UUID("6f1f0a3e-7f0c-5d0e-9a51-1d2c1f6d7a10")
_MODEL, _REFERENCE, _TOOL = "model", "reference", "latentscan"


def cyclonedx_bytes(report: Report) -> bytes:
    """The report as a CycloneDX bill of materials in JSON."""
    text = json.dumps(bom(report), indent=2, sort_keys=True, ensure_ascii=False)
    return visible(text).encode() + b"\n"


def bom(report: Report) -> dict[str, JsonValue]:
    """The bill of materials as plain values. Its serial number follows from the report's digest."""
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
            "component": _model(report),
            "properties": _properties(
                {
                    "decision": report.verdict.decision,
                    "severity": report.verdict.severity or "not assessed",
                    "confidence": report.verdict.confidence,
                    "exit_code": str(report.verdict.exit_code),
                    "report_digest": report.report_digest,
                    "profile_sha256": report.profile.sha256,
                }
            ),
        },
        "components": [_reference(report)],
        "dependencies": [{"ref": _MODEL, "dependsOn": [_REFERENCE]}, {"ref": _REFERENCE}],
        "vulnerabilities": _vulnerabilities(report),
    }


def _model(report: Report) -> dict[str, JsonValue]:
    model, reference = report.model, report.reference
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
    if reference.clean_accuracy is not None:
        metric: dict[str, JsonValue] = {
            "type": "accuracy",
            "value": f"{reference.clean_accuracy:.6g}",
            "slice": "clean reference",
        }
        card["quantitativeAnalysis"] = {"performanceMetrics": [metric]}
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": printable(model.name),
        "description": printable(model.description),
        "hashes": [{"alg": "SHA-256", "content": model.sha256}],
        "modelCard": card,
        "properties": _properties({"format": printable(model.format), "size": str(model.size)}),
    }


def _reference(report: Report) -> dict[str, JsonValue]:
    reference = report.reference
    return {
        "type": "data",
        "bom-ref": _REFERENCE,
        "name": "clean reference",
        "hashes": [{"alg": "SHA-256", "content": reference.digest}],
        "data": [{"type": "dataset", "name": "clean reference", "contents": {"properties": []}}],
        "properties": _properties({"images": str(reference.images), "labelled": str(reference.labelled).lower()}),
    }


def _vulnerabilities(report: Report) -> list[JsonValue]:
    """The findings about the model."""
    return [_vulnerability(finding, report) for finding in report.findings if finding.subject == "model"]


def _vulnerability(finding: Finding, report: Report) -> dict[str, JsonValue]:
    rule = catalogue()[finding.rule]
    targets = [printable(other.name) for other in report.findings if other.subject == "class"]
    detail = "\n".join(printable(reason) for reason in report.verdict.reasons)
    properties = {
        "fingerprint": finding.id,
        "confidence": report.verdict.confidence,
        "batch_p_value": f"{report.batch.p_value:.6g}",
        "inputs_not_finite": str(report.inputs.not_finite),
        **{f"target_class.{i}": name for i, name in enumerate(targets)},
        **{f"taxonomy.{entry.id}": f"{entry.framework}: {entry.name}" for entry in report.taxonomy.entries},
    }
    accepted = report.verdict.accepted
    if accepted is not None:
        properties["accepted"] = printable(f"until {accepted.expires} by {accepted.source}: {accepted.reason}")
    return {
        "bom-ref": f"finding-{finding.id[:16]}",
        "id": finding.rule,
        "source": {"name": report.tool.name},
        "ratings": [
            {
                "source": {"name": report.tool.name},
                "severity": finding.severity if finding.severity is not Severity.NONE else "none",
                "method": "other",
                "justification": printable(finding.message),
            }
        ],
        "description": f"{rule.title}. {rule.what}",
        "detail": detail,
        "recommendation": rule.act,
        "created": report.run.started_at,
        "tools": {"components": [{"type": "application", "name": report.tool.name, "version": report.tool.version}]},
        "analysis": {"state": "in_triage", "detail": printable(report.verdict.reasons[0])},
        "affects": [{"ref": _MODEL}],
        "properties": _properties(properties),
    }


def _properties(values: dict[str, str]) -> list[JsonValue]:
    return [{"name": f"latentscan:{name}", "value": str(value)} for name, value in values.items()]
