"""The report as a whole, and its JSON Schema."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from scanner.profile.header import ModelInfo, Part, ReferenceInfo, Sha256, Text
from scanner.profile.picture import Picture
from scanner.report.schema.batch import BatchSection, Distributions
from scanner.report.schema.evidence import CopiesSection, DemonstrationSection, DriftSection, HandedOverSection
from scanner.report.schema.gallery import GalleryItem
from scanner.report.schema.inputs import InputRow, InputsSection, RowsSection
from scanner.report.schema.notebook import notebook_html
from scanner.report.schema.origin import (
    CalibrationSection,
    DetectorSection,
    PreprocessSection,
    ProfileSection,
    RunSection,
    ToolSection,
)
from scanner.report.schema.taxonomy import Taxonomy
from scanner.report.schema.verdict import CheckResult, Finding, PolicySection, VerdictSection

REPORT_VERSION: Literal["1.4.0"] = "1.4.0"
REPORT_URN: Literal["urn:latentscan:report:1"] = "urn:latentscan:report:1"


class Report(Part):
    """The result of one scan."""

    model_config = ConfigDict(title="latentscan report", validate_by_name=True, serialize_by_alias=True)

    schema_uri: Literal["urn:latentscan:report:1"] = Field(
        default=REPORT_URN, alias="$schema", description="Name of this schema."
    )
    schema_version: Literal["1.4.0"] = Field(default=REPORT_VERSION, description="Version of this schema.")
    tool: ToolSection = Field(description="The program that made the report.")
    run: RunSection = Field(description="All values that differ between runs over the same inputs.")
    model: ModelInfo = Field(description="The suspect model, as it was when the profile was fitted.")
    profile: ProfileSection = Field(description="The profile that the inputs were judged with.")
    reference: ReferenceInfo = Field(description="The clean images that the profile was fitted and calibrated on.")
    preprocess: PreprocessSection = Field(description="How images were preprocessed.")
    detector: DetectorSection = Field(description="What was looked at, and how.")
    calibration: CalibrationSection = Field(description="How a score became a p-value.")
    inputs: InputsSection = Field(description="What was found, scanned and left out.")
    batch: BatchSection = Field(description="What the inputs say together.")
    checks: tuple[CheckResult, ...] = Field(description="Every check of the verdict, passed or not.")
    verdict: VerdictSection = Field(description="What follows from all of it.")
    top_inputs: tuple[InputRow, ...] = Field(description="The most suspicious inputs, most suspicious first.")
    rows: RowsSection | None = Field(description="The file with one row per input; null where none was asked for.")
    taxonomy: Taxonomy = Field(description="Where findings of this kind belong in published catalogues.")
    findings: tuple[Finding, ...] = Field(
        default=(), description="What was found, about the model first, then classes, then inputs."
    )
    policy: PolicySection | None = Field(default=None, description="The gate's settings and where they came from.")
    distributions: Distributions | None = Field(
        default=None, description="Scores and p-values in bins; null in reports older than 1.1."
    )
    gallery: tuple[GalleryItem, ...] = Field(
        default=(), max_length=48, description="Pictures of the most suspicious inputs, most suspicious first."
    )
    drift: DriftSection | None = Field(
        default=None, description="Whether the inputs are like the reference; null in reports older than 1.4."
    )
    copies: CopiesSection | None = Field(
        default=None, description="How many different pictures the inputs are; null likewise."
    )
    demonstration: DemonstrationSection | None = Field(
        default=None, description="The trigger, where one was looked for; null where the inputs are not suspicious."
    )
    handed_over: HandedOverSection | None = Field(
        default=None, description="A pattern of an audit of the model; null where none was handed over or tried."
    )
    pictures: dict[Sha256, Picture] = Field(
        default_factory=dict, max_length=112, description="Thumbnails, by the SHA-256 of their content."
    )
    limitations: tuple[Text, ...] = Field(description="What the scan cannot tell, whatever its verdict.")
    warnings: tuple[Text, ...] = Field(description="What a person should know before relying on this report.")
    report_digest: Sha256 = Field(
        description="SHA-256 of the report as canonical JSON without `run`, `pictures` (whose keys are digests) and "
        "`report_digest`."
    )

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return notebook_html(self.verdict, self.model, self.inputs, self.top_inputs, self.warnings)


def json_schema() -> dict[str, JsonValue]:
    """The JSON Schema of the report (draft 2020-12)."""
    schema: dict[str, Any] = Report.model_json_schema(mode="serialization")
    # This version of the program writes no other fields; a later one may, and readers ignore what they do not know.
    for definition in (schema, *schema["$defs"].values()):
        definition.pop("additionalProperties", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": REPORT_URN, **schema}


def schema_text() -> str:
    """The content of ``docs/report-1.schema.json``."""
    return json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
