"""The summary of a fleet, field by field.

``docs/fleet-1.schema.json`` is generated from these models with
``python -m scanner.report.fleet > docs/fleet-1.schema.json``. The version is semantic, as that of the report is.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from scanner.profile.header import Count, Part, Sha256, Share, Text, ToolInfo
from scanner.report.schema.fields import RuleId, Timestamp
from scanner.report.schema.verdict import RulesInfo
from scanner.verdict.terms import Confidence, Decision, FailOn, Severity

FLEET_VERSION: Literal["1.0.0"] = "1.0.0"
FLEET_URN: Literal["urn:latentscan:fleet:1"] = "urn:latentscan:fleet:1"


class FleetRun(Part):
    """All values that differ between runs over the same table."""

    started_at: Timestamp = Field(description="Start, RFC 3339 in UTC; SOURCE_DATE_EPOCH when that is set.")
    duration_s: Annotated[float, Field(ge=0)] | None = Field(
        description="Duration in seconds; null when SOURCE_DATE_EPOCH is set."
    )
    argv: tuple[Text, ...] = Field(description="Command line, one element per argument.")


class FleetTableInfo(Part):
    """The table of models."""

    name: Text = Field(description="File name of the table, without its folder.")
    sha256: Sha256 = Field(description="SHA-256 of the file.")
    models: Count = Field(description="Number of its rows.")


class FleetCorrection(Part):
    """How false alarms are corrected for the number of models."""

    method: Literal["holm"] = Field(description="Holm's step-down procedure, which holds under any dependence.")
    tests: Count = Field(description="Tests that were corrected for: all rows, those that failed included.")
    guarantee: Text = Field(description="What that promises, and under which assumption.")


class FleetModel(Part):
    """One row of the table."""

    line: Count = Field(description="Line of the table, from 2; the last one of a row with line breaks.")
    name: Text = Field(description="Name of the row.")
    status: Literal["scanned", "failed"] = Field(description="Whether there is a report.")
    stage: Literal["read", "fit", "scan", "done"] = Field(description="Where it failed; 'done' where it did not.")
    message: Text = Field(description="Why it failed, or the decisive sentence of its report.")
    exit_code: Literal[0, 1, 2, 3] = Field(
        description="0 below `fail_on`, 1 at or above it, 2 no verdict, 3 inconclusive, among all models."
    )
    severity: Severity | None = Field(
        default=None,
        description="Severity among all models; null when there is no report or the evidence cannot be used.",
    )
    decision: Decision | None = Field(default=None, description="What to do with the model; null without a report.")
    changed: Text | None = Field(
        default=None, description="What the number of models changed; null where it changed nothing."
    )
    confidence: Confidence | None = Field(default=None, description="As in the report; null without one.")
    fail_on: FailOn | None = Field(
        default=None, description="The severity from which on the exit code is 1; null likewise."
    )
    own_severity: Severity | None = Field(
        default=None, description="Severity in its own report, as if it were the only model."
    )
    own_exit_code: Literal[0, 1, 3] | None = Field(
        default=None, description="Exit code of its own report; null without one."
    )
    batch_p: Share | None = Field(default=None, description="P-value of its batch; null where none could be computed.")
    batch_p_adjusted: Share | None = Field(default=None, description="The same, adjusted for all models.")
    demonstration_p: Share | None = Field(
        default=None, description="P-value of the trigger that was tried; null without one."
    )
    demonstration_p_adjusted: Share | None = Field(default=None, description="The same, adjusted for all models.")
    rules: tuple[RuleId, ...] = Field(description="Rules that applied in its own report and checks that failed.")
    inputs: Count | None = Field(default=None, description="Inputs found; null without a report.")
    scanned: Count | None = Field(default=None, description="Inputs that were scored; null likewise.")
    flagged: Count | None = Field(default=None, description="Inputs that are flagged; null likewise.")
    alpha: Share | None = Field(default=None, description="Significance level of an input; null likewise.")
    model_name: Text | None = Field(default=None, description="File name of the model; null likewise.")
    model_sha256: Sha256 | None = Field(default=None, description="SHA-256 of the model file; null likewise.")
    report: Text | None = Field(
        default=None, description="Path of its JSON report below the summary's folder; null likewise."
    )
    page: Text | None = Field(default=None, description="Path of its HTML report; null likewise.")
    report_digest: Sha256 | None = Field(default=None, description="Digest of its report; null likewise.")


class FleetReport(Part):
    """What the reports of many models say together, the severest first."""

    model_config = ConfigDict(title="latentscan fleet summary", validate_by_name=True, serialize_by_alias=True)

    schema_uri: Literal["urn:latentscan:fleet:1"] = Field(
        default=FLEET_URN, alias="$schema", description="Name of this schema."
    )
    schema_version: Literal["1.0.0"] = Field(default=FLEET_VERSION, description="Version of this schema.")
    tool: ToolInfo = Field(description="The program that made the summary.")
    run: FleetRun = Field(description="All values that differ between runs over the same table.")
    table: FleetTableInfo = Field(description="The table of models.")
    correction: FleetCorrection = Field(description="How false alarms are corrected for the number of models.")
    rules: RulesInfo = Field(description="The rules that verdicts follow.")
    exit_code: Literal[0, 1, 2, 3] = Field(
        description="Of the worst row: 1 where a model fails its gate, else 2 where there is no verdict on one, else 3 "
        "where one is inconclusive, else 0."
    )
    models: tuple[FleetModel, ...] = Field(
        description="Findings by severity, then what could not be judged, then models without a finding."
    )
    summary_digest: Sha256 = Field(
        description="SHA-256 of the summary as canonical JSON without `run` and `summary_digest`."
    )


def json_schema() -> dict[str, JsonValue]:
    """The JSON Schema of the summary (draft 2020-12)."""
    schema: dict[str, Any] = FleetReport.model_json_schema(mode="serialization")
    # This version of the program writes no other fields; a later one may, and readers ignore what they do not know.
    for definition in (schema, *schema["$defs"].values()):
        definition.pop("additionalProperties", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": FLEET_URN, **schema}


def schema_text() -> str:
    """The content of ``docs/fleet-1.schema.json``."""
    return json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
