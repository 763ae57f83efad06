"""What the header and its warnings say of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.baselines.confidence import overconfidence
from detectors.class_order import Assignment
from scanner.fitting.stages import Reference, Subject


@dataclass(frozen=True)
class ReferenceSummary:
    """What the header says of the reference.

    Attributes:
        kind: Kind of source.
        images: Readable images.
        unreadable: Images left out.
        digest: SHA-256 over the sorted digests of the images.
        per_class: Images of each class, by name.
        clean_accuracy: None without labels.
        labels: Label names with their outputs, or None without labels.
        assignment: What the labels stand for, or None without labels.
        mean_confidence: Mean probability that the network gives to what it predicts.
        overconfidence: By how much it is surer than right at least, on average; None without labels.
    """

    kind: str
    images: int
    unreadable: int
    digest: str
    per_class: dict[str, int]
    clean_accuracy: float | None
    labels: tuple[str, ...] | None
    assignment: Assignment | None
    mean_confidence: float | None = None
    overconfidence: float | None = None


def class_names(
    num_classes: int,
    labels: Sequence[str] | None,
    outputs: NDArray[np.int64] | None,
    own: Sequence[str] = (),
) -> tuple[str, ...]:
    """A name for every network output: its label, else the model's own name for it, else its number."""
    names = list(own) if len(own) == num_classes else [f"class {index}" for index in range(num_classes)]
    if labels is not None and outputs is not None:
        for label, output in zip(labels, outputs.tolist(), strict=True):
            names[output] = label
    return tuple(names)


def summarise(subject: Subject, reference: Reference) -> ReferenceSummary:
    """Counts and accuracy of the reference, with its labels' names."""
    labels, assignment, features = subject.labels, reference.assignment, reference.features
    num_classes = subject.model.num_classes
    names = class_names(
        num_classes,
        None if labels is None else labels.names,
        None if assignment is None else assignment.outputs,
        subject.model.class_names,
    )
    counts = np.bincount(reference.classes, minlength=num_classes)
    right = features.predicted == reference.classes
    return ReferenceSummary(
        subject.source.kind,
        len(features.rows),
        features.unreadable,
        features.digest,
        {names[c]: int(counts[c]) for c in np.flatnonzero(counts)},
        None if assignment is None else assignment.accuracy,
        None if labels is None else labels.names,
        assignment,
        float(features.confidence.mean()),
        None if labels is None else overconfidence(features.confidence, right),
    )
