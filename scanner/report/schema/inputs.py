"""The inputs: what was found and left out, and one row each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scanner.profile.header import Count, Part, Sha256, Share, Text
from scanner.report.schema.fields import Finite

MAX_UNREADABLE_LISTED = 100


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
    density_p_value: Share | None = Field(
        default=None,
        description="The p-value by densities and weight draws alone; another one only where the batch shares units or "
        "has suspects.",
    )
    shared_units: Finite = Field(
        default=None,
        description="What the units that the batch shares say of the input, in nats; 0 where it shares none.",
    )
    common_direction: Finite = Field(
        default=None,
        description="What the direction in which suspicious inputs of the batch differ from all others says of the "
        "input, in nats; 0 where there are too few of them.",
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
