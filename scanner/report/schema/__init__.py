"""The JSON report, field by field.

The models below are the one definition of the report, a module for each part of it.
``docs/report-1.schema.json`` is generated from them with
``python -m scanner.report.schema > docs/report-1.schema.json``, and ``docs/report-format.md`` explains them.

The version is semantic: a new field raises the minor version and readers ignore fields that they do not know; a field
that changes its meaning or goes away raises the major version and the URN with it.
"""

from __future__ import annotations

from scanner.report.schema.batch import (
    MAX_LABELS_LISTED,
    BatchSection,
    BatchTestResult,
    ClassCount,
    Distributions,
    Interval,
    LabelledGroup,
    LabelsSection,
    SharedUnit,
    SharedUnitsSection,
    TargetClass,
    TriggeredShare,
    UnitPlace,
)
from scanner.report.schema.document import REPORT_URN, REPORT_VERSION, Report, json_schema, schema_text
from scanner.report.schema.evidence import (
    CopiesSection,
    DemonstrationSection,
    DriftSection,
    FlipsOfClass,
    HandedOverSection,
    LookSection,
    ScoreShiftSection,
    TriggerExample,
)
from scanner.report.schema.fields import Finite, RuleId, Timestamp
from scanner.report.schema.gallery import GalleryItem, LayerVoice, LoudestPlace, NearestReference
from scanner.report.schema.inputs import (
    MAX_UNREADABLE_LISTED,
    InputRow,
    InputsSection,
    RowsSection,
    TopScore,
    UnreadableInput,
)
from scanner.report.schema.origin import (
    CalibrationSection,
    DetectorSection,
    PreprocessSection,
    ProfileSection,
    RunSection,
    ToolSection,
)
from scanner.report.schema.taxonomy import Taxonomy, TaxonomyEntry
from scanner.report.schema.verdict import (
    FINDING_RULES,
    CheckResult,
    Finding,
    PolicySection,
    RulesInfo,
    Suppression,
    VerdictSection,
)

__all__ = [
    "FINDING_RULES",
    "MAX_LABELS_LISTED",
    "MAX_UNREADABLE_LISTED",
    "REPORT_URN",
    "REPORT_VERSION",
    "BatchSection",
    "BatchTestResult",
    "CalibrationSection",
    "CheckResult",
    "ClassCount",
    "CopiesSection",
    "DemonstrationSection",
    "DetectorSection",
    "Distributions",
    "DriftSection",
    "Finding",
    "Finite",
    "FlipsOfClass",
    "GalleryItem",
    "HandedOverSection",
    "InputRow",
    "InputsSection",
    "Interval",
    "LabelledGroup",
    "LabelsSection",
    "LayerVoice",
    "LookSection",
    "LoudestPlace",
    "NearestReference",
    "PolicySection",
    "PreprocessSection",
    "ProfileSection",
    "Report",
    "RowsSection",
    "RuleId",
    "RulesInfo",
    "RunSection",
    "ScoreShiftSection",
    "SharedUnit",
    "SharedUnitsSection",
    "Suppression",
    "TargetClass",
    "Taxonomy",
    "TaxonomyEntry",
    "Timestamp",
    "ToolSection",
    "TopScore",
    "TriggerExample",
    "TriggeredShare",
    "UnitPlace",
    "UnreadableInput",
    "VerdictSection",
    "json_schema",
    "schema_text",
]
