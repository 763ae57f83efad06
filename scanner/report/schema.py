"""The JSON report, field by field.

The models below are the one definition of the report. ``docs/report-1.schema.json`` is generated from them with
``python -m scanner.report.schema > docs/report-1.schema.json``, and ``docs/report-format.md`` explains them.

The version is semantic: a new field raises the minor version and readers ignore fields that they do not know; a field
that changes its meaning or goes away raises the major version and the URN with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import sys
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints, model_validator

from scanner.profile.header import (
    Count,
    JsonObject,
    ModelInfo,
    ParityInfo,
    Part,
    PreprocessCandidate,
    ReferenceInfo,
    ScoreInfo,
    Sha256,
    Share,
    TapInfo,
    Text,
    ToolInfo,
)
from scanner.verdict.terms import CheckStatus, Confidence, Decision, ExitCode, FailOn, Severity

REPORT_VERSION: Literal["1.2.0"] = "1.2.0"
REPORT_URN: Literal["urn:latentscan:report:1"] = "urn:latentscan:report:1"
MAX_UNREADABLE_LISTED = 100
FINDING_RULES = {
    "model": ("LS101", "LS102", "LS103", "LS104", "LS105"),
    "class": ("LS402",),
    "input": ("LS401", "LS403"),
}


def _finite_or_none(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,8}[0-9]{1,8}$")]
Timestamp = Annotated[str, StringConstraints(pattern=r"^[0-9T:.Z+-]{1,40}$")]
Finite = Annotated[float | None, BeforeValidator(_finite_or_none)]
"""A measured value. One that is not finite (an overflow in the model) is null, as JSON has no infinity."""


class Interval(Part):
    """A confidence interval."""

    low: float = Field(description="Lower end.")
    high: float = Field(description="Upper end.")
    level: Share = Field(description="Confidence level, for example 0.95.")


class ToolSection(Part):
    """The program that made the report."""

    name: Text = Field(description="Name of the distribution.")
    version: Text = Field(description="Its version.")
    libraries: dict[Text, Text] = Field(description="Versions of the libraries that results depend on, by name.")


class RunSection(Part):
    """Everything that differs between two runs over the same inputs; nothing else in the report does."""

    id: Text | None = Field(description="Random identifier (UUID) of the run; null when SOURCE_DATE_EPOCH is set.")
    started_at: Timestamp = Field(description="Start, RFC 3339 in UTC; SOURCE_DATE_EPOCH when that is set.")
    duration_s: Annotated[float, Field(ge=0)] | None = Field(
        description="Duration in seconds; null when SOURCE_DATE_EPOCH is set."
    )
    inputs_per_s: Annotated[float, Field(ge=0)] | None = Field(
        description="Scanned inputs per second; null when SOURCE_DATE_EPOCH is set."
    )
    argv: tuple[Text, ...] = Field(description="Command line, one element per argument.")
    device: Text = Field(description="Device asked for: 'auto', 'cpu' or 'cuda'.")
    provider: Text = Field(description="ONNX Runtime execution provider that ran the graph.")
    threads: Count = Field(description="Number of worker threads.")
    platform: Text = Field(description="Operating system and processor architecture.")
    python: Text = Field(description="Version of Python.")


class ProfileSection(Part):
    """The profile that the inputs were judged with."""

    name: Text = Field(description="File name of the profile, without its folder.")
    sha256: Sha256 = Field(description="Digest of the profile's content, as docs/profile-format.md defines it.")
    schema_version: Text = Field(description="Version of the profile format.")
    tool: ToolInfo = Field(description="The program that wrote the profile.")
    created_with: dict[Text, Text] = Field(description="Versions of the libraries that it was written with, by name.")
    seed: Count = Field(description="Seed of every random choice made while fitting.")


class PreprocessSection(Part):
    """How an image file becomes the tensor that the model expects."""

    spec: JsonObject = Field(description="The frozen specification: size, resize, crop, scale, mean, std, channels.")
    sha256: Sha256 = Field(description="SHA-256 of the specification as canonical JSON.")
    source: Text = Field(description="Where the specification came from: a flag, a sidecar file, metadata, a search.")
    candidates: tuple[PreprocessCandidate, ...] = Field(
        description="The candidates of the search with their accuracies; empty where none was made."
    )


class DetectorSection(Part):
    """What is looked at, and how."""

    family: Text = Field(description="Density family.")
    parameters: JsonObject = Field(description="Settings it was fitted with.")
    taps: tuple[TapInfo, ...] = Field(description="The layers looked at.")
    scores: tuple[ScoreInfo, ...] = Field(description="The scores, in the order of the graph's output.")
    parity: ParityInfo = Field(description="Agreement of ONNX Runtime with the original framework.")


class CalibrationSection(Part):
    """How a score becomes a p-value."""

    method: Literal["cross-conformal", "split", "cross-fit"] = Field(
        description="'cross-conformal': inputs are scored by the densities of every fold, fitted on the other folds, "
        "and compared with that fold's images alone. 'split': images that were held out of fitting. 'cross-fit', in "
        "reports older than 1.2: inputs scored by densities fitted on all images."
    )
    folds: Count | None = Field(description="Number of folds; null for a split.")
    size: Count = Field(description="Number of calibration images.")
    alpha: Share = Field(description="Significance level: an input is flagged when its p-value is at most alpha.")
    smallest_alpha: Share = Field(description="Smallest level at which this many images can flag an input at all.")
    expected_false_alarm_rate: Share = Field(
        description="Share of clean inputs that is flagged on average: the largest multiple of 1 / (size + 1) that is "
        "at most alpha."
    )
    guarantee: Text = Field(description="What the calibration promises, and under which assumption.")


class UnreadableInput(Part):
    """An input that could not be scanned."""

    id: Text = Field(description="Path below the source, with '/' between folders.")
    reason: Text = Field(description="Stable code of the reason.")
    detail: Text = Field(description="The reason in words.")


class InputsSection(Part):
    """What was found, scanned and left out."""

    name: Text = Field(description="Name of the folder or file of inputs, without its folder.")
    source: Text = Field(description="Kind of source: folder, folder per class, manifest, array, file.")
    total: Count = Field(description="Inputs found: scanned and unreadable ones.")
    scanned: Count = Field(description="Inputs that were scored.")
    not_finite: Count = Field(
        default=0,
        description="Scanned inputs with logits or scores that are not finite: flagged, and in none of the batch's "
        "counts.",
    )
    unreadable: Count = Field(description="Inputs that could not be read.")
    ignored: Count = Field(description="Files that are no images by their name and were not counted as inputs.")
    unreadable_by_reason: dict[Text, Count] = Field(description="Number of unreadable inputs by reason.")
    unreadable_inputs: tuple[UnreadableInput, ...] = Field(
        max_length=MAX_UNREADABLE_LISTED, description="The first of them, at most 100; the rows hold all."
    )
    digest: Sha256 | None = Field(
        description="SHA-256 over the inputs' SHA-256 digests, in order, as lower-case hexadecimal with a line feed "
        "after each; an input without digest contributes an empty line. Null where it was not computed."
    )


class BatchTestResult(Part):
    """One exact test of the batch."""

    id: Text = Field(description="Stable identifier.")
    name: Text = Field(description="What it counts.")
    statistic: Count = Field(description="The count, in inputs.")
    expected: float = Field(ge=0, description="Its expectation among clean inputs, in inputs.")
    n: Count = Field(description="Number of scanned inputs whose outputs are finite.")
    p_value: Share = Field(description="Probability of this count or a larger one among clean inputs.")
    null: Text = Field(description="Distribution of the count among clean inputs.")


class TriggeredShare(Part):
    """Estimated share of triggered inputs."""

    estimate: Share = Field(description="Estimated share of the inputs that is flagged beyond false alarms.")
    low: Share = Field(description="Lower end of its confidence interval.")
    high: Share = Field(description="Upper end of its confidence interval.")
    level: Share = Field(description="Confidence level of the interval.")


class ClassCount(Part):
    """Flagged inputs among those predicted as one class, where the outputs are finite."""

    class_index: Count = Field(description="Index of the model's output.")
    class_name: Text = Field(description="Name of the class.")
    n: Count = Field(description="Scanned inputs predicted as the class.")
    flagged: Count = Field(description="Flagged ones among them.")


class TargetClass(ClassCount):
    """A class that the backdoor may lead to."""

    p_adjusted: Share = Field(
        description="Exact p-value of the count, multiplied by the number of predicted classes (Bonferroni)."
    )


class BatchSection(Part):
    """What the inputs say together, those left out whose outputs are not finite."""

    flagged: Count = Field(description="Inputs with a p-value of at most alpha.")
    flag_rate: Share | None = Field(description="Share of the inputs that is flagged; null without any.")
    flag_rate_interval: Interval | None = Field(
        description="Exact interval (Clopper and Pearson) for the rate of flagged inputs; null without any."
    )
    tests: tuple[BatchTestResult, ...] = Field(description="The tests, each exact on its own.")
    p_value: Share = Field(description="Twice the smallest p-value of the tests, at most 1: valid for both together.")
    smallest_attainable_p: Share = Field(
        description="What p_value would be if every input were above every calibration image."
    )
    share: TriggeredShare | None = Field(description="Share of triggered inputs; null when there are none.")
    target_classes: tuple[TargetClass, ...] = Field(
        description="Predicted classes flagged more often than chance explains (p_adjusted at most 0.01), the most "
        "striking first. Read them only together with the batch's p-value."
    )
    flagged_by_class: tuple[ClassCount, ...] = Field(description="Every predicted class with flagged inputs, by index.")
    by_class: tuple[ClassCount, ...] = Field(
        default=(), max_length=1000, description="Predicted classes by index; of more than 1000, the most striking."
    )


class CheckResult(Part):
    """One named check of the verdict."""

    id: RuleId = Field(description="Stable identifier.")
    name: Text = Field(description="Short name.")
    status: CheckStatus = Field(description="Outcome. A check that could not run is 'not_assessed', never 'passed'.")
    message: Text = Field(description="The outcome in one sentence; for a failed check with what to do.")
    statistic: float | None = Field(description="The value looked at, in `units`.")
    units: Text = Field(description="Unit of the statistic.")
    p_value: Share | None = Field(description="p-value, where the check is a test.")
    threshold: float | None = Field(
        description="The bound that the statistic, or the p-value where the check is the batch test, is compared with."
    )
    n: Count | None = Field(description="Number of observations behind the statistic.")
    limitations: Text = Field(description="What the check cannot tell.")


class RulesInfo(Part):
    """The rules that the verdict follows."""

    version: Text = Field(description="Version of the rules.")
    sha256: Sha256 = Field(description="SHA-256 of the file of rules.")


class Suppression(Part):
    """Why a finding does not count any more: an entry of the ignore file."""

    reason: Text = Field(description="The reason, as somebody wrote it.")
    expires: Text | None = Field(description="Last day on which it holds, RFC 3339; null where it does not expire.")
    source: Text = Field(description="Name of the ignore file.")


class Finding(Part):
    """Something that was found. It stays here when it is suppressed."""

    id: Sha256 = Field(description="Fingerprint of what was found where: the same in every scan that finds it again.")
    rule: Text = Field(description="Identifier of the rule; `modelscan explain` knows it.")
    subject: Literal["model", "class", "input"] = Field(description="What it is about.")
    severity: Severity = Field(description="How bad it is, if it holds.")
    message: Text = Field(description="The finding in one sentence.")
    index: Count | None = Field(description="Index of the input or of the class; null for the model.")
    name: Text = Field(description="Name of the input, of the class or of the model file.")
    known: bool = Field(description="Whether the baseline has it.")
    suppressed: Suppression | None = Field(description="Why it does not count any more; null where it counts.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.rule not in FINDING_RULES[self.subject]:
            raise ValueError(f"no rule about a {self.subject}")
        return self


class PolicySection(Part):
    """The gate's settings, and where each came from."""

    values: dict[Text, JsonValue] = Field(description="Effective values by name.")
    sources: dict[Text, Text] = Field(description="'flag', 'environment', 'file' or 'default', by name.")
    config: Text | None = Field(description="Name of the configuration file; null without one.")
    baseline_sha256: Sha256 | None = Field(description="SHA-256 of the baseline; null without one.")
    ignore_sha256: Sha256 | None = Field(description="SHA-256 of the ignore file; null without one.")
    sha256: Sha256 = Field(
        description="SHA-256 of `values`, `baseline_sha256` and `ignore_sha256` as canonical JSON: one gate, one "
        "digest."
    )


class Distributions(Part):
    """Scores and p-values of all scanned inputs whose outputs are finite, in bins."""

    edges: tuple[float, ...] = Field(
        min_length=2, max_length=1001, description="Edges of the bins of the combined score, ascending."
    )
    calibration: tuple[Count, ...] = Field(
        max_length=1000, description="Calibration images in each bin; what lies outside is in the first or the last."
    )
    scanned: tuple[Count, ...] = Field(max_length=1000, description="Scanned inputs in each bin, likewise.")
    threshold: Finite = Field(
        description="About where flagging begins, exactly with a split: the score of the calibration image of that "
        "rank. With folds each image and input is compared within its fold, and the p-value decides. Null where alpha "
        "flags nothing."
    )
    p_values: tuple[Count, ...] = Field(
        max_length=1000,
        description="Scanned inputs by p-value, in bins of equal width from 0 to 1, upper ends included.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        bins = len(self.edges) - 1
        if (len(self.calibration), len(self.scanned)) != (bins, bins):
            raise ValueError(f"{len(self.calibration)} and {len(self.scanned)} counts for {bins} bins")
        if any(low > high for low, high in pairwise(self.edges)):
            raise ValueError("edges that do not ascend")
        return self


PictureData = Annotated[str, StringConstraints(max_length=16_384, pattern=r"^[A-Za-z0-9+/]+={0,2}$")]


class Picture(Part):
    """A small picture, encoded anew from decoded pixels."""

    type: Literal["image/png", "image/webp"] = Field(description="Media type.")
    width: int = Field(ge=1, le=96, description="Pixels.")
    height: int = Field(ge=1, le=96, description="Pixels.")
    data: PictureData = Field(description="The file in base64.")

    @classmethod
    def of(cls, kind: Literal["image/png", "image/webp"], content: bytes, width: int, height: int) -> Self:
        """The picture with this content."""
        return cls(type=kind, width=width, height=height, data=base64.b64encode(content).decode("ascii"))

    @property
    def content(self) -> bytes:
        """The file."""
        return base64.b64decode(self.data)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.content)

    @property
    def sha256(self) -> str:
        """Digest of the file, its key among the report's pictures."""
        return hashlib.sha256(self.content).hexdigest()

    def is_intact(self) -> bool:
        """Whether the data are base64 of a file that starts as its type does."""
        try:
            content = base64.b64decode(self.data, validate=True)
        except (binascii.Error, ValueError):
            return False
        if self.type == "image/png":
            return content.startswith(b"\x89PNG\r\n\x1a\n")
        return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


class LayerVoice(Part):
    """How loudly a layer spoke."""

    tap: Text = Field(description="Name of the layer.")
    z: Finite = Field(
        description="Largest of its standardised log scores, in robust standard deviations; null when not finite."
    )


class NearestReference(Part):
    """The clean image of the predicted class that the network finds most like the input."""

    id: Text = Field(description="Path below the reference.")
    sha256: Sha256 = Field(description="SHA-256 of the image file.")
    class_index: Count = Field(description="Index of its class.")
    class_name: Text = Field(description="Name of its class.")
    distance: Finite = Field(
        description="Root mean square difference of logits and class evidence, in standard deviations over the stored "
        "images; null where it was not measured."
    )
    picture: Sha256 | None = Field(description="Key of its thumbnail in `pictures`; null without one.")


class GalleryItem(Part):
    """What a person sees of one of the most suspicious inputs."""

    index: Count = Field(description="`index` of the input among `top_inputs`.")
    picture: Sha256 | None = Field(description="Key of its thumbnail in `pictures`; null without one.")
    layers: tuple[LayerVoice, ...] = Field(description="The layers, in the order of depth; the loudest 12 at most.")
    nearest: NearestReference | None = Field(description="Null where the profile keeps no image of that class.")


class VerdictSection(Part):
    """What follows from all of it."""

    severity: Severity | None = Field(
        description="Severity that the evidence supports; null when the evidence cannot be used."
    )
    decision: Decision = Field(description="What to do with the model.")
    confidence: Confidence = Field(
        description="'provisional' when something that the calibration relies on is missing; the reasons say what."
    )
    reasons: tuple[Text, ...] = Field(min_length=1, description="Sentences, the decisive one first.")
    rule_ids: tuple[RuleId, ...] = Field(
        description="The severity rule that applied and the checks that failed, by identifier."
    )
    fail_on: FailOn = Field(description="The severity from which on the exit code is 1.")
    exit_code: ExitCode = Field(description="0 below `fail_on` or accepted, 1 at or above it, 3 inconclusive.")
    accepted: Suppression | None = Field(
        default=None, description="Who accepted a finding that would have failed the gate, and why; null otherwise."
    )
    rules: RulesInfo = Field(description="The rules that the verdict follows.")


class TopScore(Part):
    """One of the deciding scores that speak loudest for an input."""

    key: Text = Field(description="Score, '<tap>:<pooling>:<kind>'.")
    p_value: Share = Field(description="Conformal p-value of this score alone.")
    z: Finite = Field(
        description="Standardised log score, in robust standard deviations of the calibration; null when not finite."
    )


class InputRow(Part):
    """One input."""

    index: Count = Field(description="Position of the input in the source, from 0.")
    id: Text = Field(description="Path below the source, with '/' between folders, or 'file.npz[17]'.")
    sha256: Sha256 | None = Field(description="SHA-256 of the input's bytes; null when they could not be read.")
    status: Literal["scanned", "unreadable"] = Field(description="Whether the input was scored.")
    reason: Text | None = Field(default=None, description="Stable code of why it was not; null when it was.")
    detail: Text | None = Field(default=None, description="The reason in words; null when it was scored.")
    finite: bool | None = Field(
        default=None,
        description="Whether logits, scores and class evidence are finite; null when unreadable, and in reports older "
        "than 1.2.",
    )
    predicted: Count | None = Field(
        default=None,
        description="Index of the predicted class; null when unreadable, or where the logits are not finite.",
    )
    predicted_class: Text | None = Field(default=None, description="Its name.")
    source: Count | None = Field(
        default=None,
        description="Index of the class, other than the predicted one, that the features are closest to; null where "
        "something is not finite.",
    )
    source_class: Text | None = Field(
        default=None, description="Its name: for a triggered input, the likely true class."
    )
    p_value: Share | None = Field(
        default=None,
        description="Conformal p-value of the combined score, the smallest possible where something is not finite; "
        "null when unreadable.",
    )
    score: Finite = Field(
        default=None,
        description="Combined score, in robust standard deviations of the calibration; null when unreadable or not "
        "finite.",
    )
    flagged: bool | None = Field(
        default=None,
        description="Whether the p-value is at most alpha, or something is not finite; null when unreadable.",
    )
    top_scores: tuple[TopScore, ...] = Field(
        default=(),
        description="Of the scores that decide, those that speak loudest, loudest first; none where the logits are not "
        "finite.",
    )
    scores: dict[str, Share] | None = Field(
        default=None, description="Conformal p-value of every score, by key; null where it was not asked for."
    )


class RowsSection(Part):
    """The file with one row per input."""

    path: Text = Field(description="File name, without its folder.")
    format: Literal["jsonl", "parquet"] = Field(description="Format of the file.")
    count: Count = Field(description="Number of rows: every input, unreadable ones included.")
    sha256: Sha256 = Field(description="SHA-256 of the file.")


class TaxonomyEntry(Part):
    """One entry of a catalogue of attacks."""

    id: Text = Field(description="Identifier.")
    framework: Text = Field(description="Catalogue.")
    name: Text = Field(description="Name of the entry in that version of the catalogue.")
    subject: Literal["model", "training data", "input"] = Field(description="What it is about.")
    formerly: tuple[Text, ...] = Field(description="Identifiers and names that it had in earlier versions.")


class Taxonomy(Part):
    """Where findings of this kind belong in published catalogues."""

    version: Text = Field(description="Version of this selection.")
    frameworks: dict[Text, Text] = Field(description="Version of each catalogue, by name.")
    entries: tuple[TaxonomyEntry, ...] = Field(description="The entries.")


class Report(Part):
    """The result of one scan."""

    model_config = ConfigDict(title="latentscan report", validate_by_name=True, serialize_by_alias=True)

    schema_uri: Literal["urn:latentscan:report:1"] = Field(
        default=REPORT_URN, alias="$schema", description="Name of this schema."
    )
    schema_version: Literal["1.2.0"] = Field(default=REPORT_VERSION, description="Version of this schema.")
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
    pictures: dict[Sha256, Picture] = Field(
        default_factory=dict, max_length=96, description="Thumbnails, by the SHA-256 of their content."
    )
    limitations: tuple[Text, ...] = Field(description="What the scan cannot tell, whatever its verdict.")
    warnings: tuple[Text, ...] = Field(description="What a person should know before relying on this report.")
    report_digest: Sha256 = Field(
        description="SHA-256 of the report as canonical JSON without `run`, `pictures` (whose keys are digests) and "
        "`report_digest`."
    )


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


if __name__ == "__main__":
    sys.stdout.write(schema_text())
