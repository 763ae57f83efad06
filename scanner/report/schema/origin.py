"""What the report rests on: the program, the run, the profile and the calibration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scanner.profile.header import (
    Count,
    IsolationLayer,
    JsonObject,
    ParityInfo,
    Part,
    PreprocessCandidate,
    ScoreInfo,
    Sha256,
    Share,
    TapInfo,
    Text,
    ToolInfo,
)
from scanner.report.schema.fields import Timestamp


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
        description="Scanned inputs per second; null when SOURCE_DATE_EPOCH is set, or where inputs may have been "
        "scored in other runs."
    )
    argv: tuple[Text, ...] = Field(description="Command line, one element per argument.")
    device: Text = Field(description="Device asked for: 'auto', 'cpu' or 'cuda'.")
    provider: Text = Field(description="ONNX Runtime execution provider that ran the graph.")
    threads: Count = Field(description="Number of worker threads.")
    platform: Text = Field(description="Operating system and processor architecture.")
    python: Text = Field(description="Version of Python.")
    isolation: tuple[IsolationLayer, ...] = Field(
        default=(),
        max_length=20,
        description="What the scanning process had given up before it read an input, and what it could not.",
    )


class ProfileSection(Part):
    """The profile that the inputs were judged with."""

    name: Text = Field(description="File name of the profile, without its folder.")
    sha256: Sha256 = Field(description="Digest of the profile's content, as docs/profile-format.md defines it.")
    schema_version: Text = Field(description="Version of the profile format.")
    tool: ToolInfo = Field(description="The program that wrote the profile.")
    created_with: dict[Text, Text] = Field(description="Versions of the libraries that it was written with, by name.")
    seed: Count = Field(description="Seed of every random choice made while fitting.")
    isolation: tuple[IsolationLayer, ...] = Field(
        default=(),
        max_length=20,
        description="What the fitting process had given up before it read anything, and what it could not.",
    )


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
