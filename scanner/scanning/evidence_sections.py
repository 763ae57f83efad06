"""What the report says of drift, copies and a shown trigger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.demonstration.demonstrate import Demonstration
from detectors.demonstration.pattern import Pattern
from detectors.demonstration.trial import Outcome
from scanner.profile.header import ProfileHeader
from scanner.profile.picture import Picture
from scanner.profile.thumbnail import picture
from scanner.report.build import BehindTheAlarm
from scanner.report.schema import (
    CopiesSection,
    DemonstrationSection,
    DriftSection,
    FlipsOfClass,
    LookSection,
    ScoreShiftSection,
    TriggerExample,
)
from scanner.scanning.handed_over_section import handed_over_section
from scanner.scanning.rule_words import does
from scanner.scanning.shown import Shown
from scanner.scanning.stages import Counted, OpenedScan
from scanner.scanning.tally import ScanCounts
from scanner.verdict.rest import rest_of
from scanner.verdict.rules import load_rules
from scanner.verdict.terms import (
    CopiesEvidence,
    DemonstrationEvidence,
    DriftEvidence,
    Evidence,
    LookShift,
    ScoreShift,
)

EXAMPLES: Final = 3
_CLASSES: Final = 1000
_GRAY: Final = 128
_COUNTS: Final = (
    "images", "eligible", "moved", "low", "high", "flagged", "flipped", "control_moved", "control_flagged",
    "control_flipped", "p_value",
)  # fmt: skip


def drift_evidence(counts: ScanCounts) -> DriftEvidence | None:
    """What the verdict needs to know of drift."""
    drift = counts.drift
    if drift is None:
        return None
    score = drift.score
    return DriftEvidence(
        drift.rest,
        drift.looked_at,
        None if score is None else ScoreShift(score.name, score.distance, score.p_value),
        tuple(
            LookShift(look.shift.name, look.shift.distance, look.shift.p_value, look.inputs, look.reference)
            for look in drift.looks
        ),
    )


def copies_evidence(counts: ScanCounts) -> CopiesEvidence:
    """What it needs to know of copies."""
    return CopiesEvidence(counts.compared, counts.distinct.repeated, counts.contents, counts.pictures)


def demonstration_evidence(shown: Shown | None, header: ProfileHeader) -> DemonstrationEvidence | None:
    """What it needs to know of a trigger."""
    if shown is None:
        return None
    if shown.experiment is None:
        return DemonstrationEvidence(missing=shown.missing or "nothing could be tried")
    outcome = shown.experiment.outcome
    return DemonstrationEvidence(
        kind=shown.experiment.kind,
        does=does(outcome.rule, header),
        one_class=outcome.rule is not None and outcome.rule.source is not None,
        eligible=outcome.eligible,
        moved=outcome.moved,
        low=outcome.low,
        high=outcome.high,
        flagged=outcome.flagged,
        control_moved=outcome.control_moved,
        control_flagged=outcome.control_flagged,
        p_value=outcome.p_value,
        passes=shown.experiment.passes,
    )


def evidence_sections(opened: OpenedScan, counted: Counted, evidence: Evidence) -> BehindTheAlarm:
    """What the report says of all of them."""
    demonstration, pictures = demonstration_section(counted.shown, opened.header, evidence)
    return BehindTheAlarm(
        drift_section(opened, counted.counts, evidence),
        copies_section(counted.counts),
        demonstration,
        pictures,
        handed_over_section(counted.tried, opened.header, evidence),
    )


def drift_section(opened: OpenedScan, counts: ScanCounts, evidence: Evidence) -> DriftSection | None:
    """What the report says of drift."""
    drift, found = counts.drift, evidence.drift
    if drift is None or found is None:
        return None
    rules = load_rules()
    score = found.score
    differs = bool(found.looks) and rules.drift.drifted(found.looks[0])
    items = opened.source.items
    return DriftSection(
        outcome=rest_of(evidence, rules).value,
        rest=drift.rest,
        looked_at=drift.looked_at,
        score=None
        if score is None
        else ScoreShiftSection(name=score.name, distance=score.distance, p_value=score.p_value),
        looks=tuple(
            LookSection(
                name=look.name,
                distance=look.distance,
                p_value=look.p_value,
                inputs=look.inputs,
                reference=look.reference,
            )
            for look in found.looks
        ),
        most_affected=tuple(items[index].id for index in drift.most_affected) if differs else (),
        allowed=evidence.allow_drift,
    )


def copies_section(counts: ScanCounts) -> CopiesSection:
    """What it says of copies."""
    return CopiesSection(
        inputs=counts.compared,
        repeated=counts.distinct.repeated,
        contents=counts.contents,
        pictures=counts.pictures,
        flagged=counts.distinct.flagged,
        every=counts.distinct.every,
    )


def demonstration_section(
    shown: Shown | None, header: ProfileHeader, evidence: Evidence
) -> tuple[DemonstrationSection | None, dict[str, Picture]]:
    """What it says of a trigger, with its pictures by digest."""
    if shown is None or shown.experiment is None:
        return None, {}
    experiment, pictures = shown.experiment, dict[str, Picture]()
    outcome, rule = experiment.outcome, experiment.outcome.rule

    def keep(pixels: NDArray[np.uint8]) -> str:
        one = picture(pixels)
        pictures[one.sha256] = one
        return one.sha256

    counts = {name: getattr(outcome, name) for name in _COUNTS}
    about = {} if rule is None else {"target": rule.target, "source": rule.source, "shift": rule.shift}
    names = {f"{which}_name": _class_name(about.get(which), header) for which in ("target", "source")}
    return DemonstrationSection(
        demonstrated=load_rules().demonstration.applies(evidence),
        kind=experiment.kind,
        strength=experiment.strength,
        **{"target": None, "source": None, "shift": None} | about | names | counts,
        by_class=_by_class(outcome, header),
        suspicious=experiment.suspicious,
        passes=experiment.passes,
        area=float(experiment.pattern.patch.mean()),
        pattern=keep(_on_gray(experiment.pattern)),
        mask=keep(_mask(experiment.pattern)),
        examples=_examples(shown.clean, experiment, header, keep),
    ), pictures


def _class_name(label: int | None, header: ProfileHeader) -> str | None:
    return None if label is None or label < 0 else header.class_names[label]


def _by_class(outcome: Outcome, header: ProfileHeader) -> tuple[FlipsOfClass, ...]:
    classes = sorted(outcome.by_class, key=lambda one: (-one.flipped, one.label))[:_CLASSES]
    return tuple(
        FlipsOfClass(
            class_index=one.label, class_name=header.class_names[one.label], images=one.images, flipped=one.flipped
        )
        for one in classes
    )


def _examples(
    clean: NDArray[np.uint8], experiment: Demonstration, header: ProfileHeader, keep: Callable[[NDArray[np.uint8]], str]
) -> tuple[TriggerExample, ...]:
    return tuple(
        TriggerExample(
            before=keep(clean[row]),
            after=keep(experiment.pattern.stamp(clean[row : row + 1])[0]),
            predicted_before=_class_name(int(experiment.before[row]), header),
            predicted_after=_class_name(int(experiment.after[row]), header),
        )
        for row in _example_rows(experiment, header.num_classes)
    )


def _example_rows(experiment: Demonstration, num_classes: int) -> list[int]:
    """Images that do what the rule says, of different classes where there are such."""
    rule = experiment.outcome.rule
    if rule is None:
        return []
    aim = rule.aim(experiment.before, num_classes)
    rows = np.flatnonzero((aim >= 0) & (experiment.after == aim))
    _, first = np.unique(experiment.before[rows], return_index=True)
    order = [*np.sort(first).tolist(), *np.setdiff1d(np.arange(len(rows)), first).tolist()]
    return [int(rows[position]) for position in order[:EXAMPLES]]


def _on_gray(pattern: Pattern) -> NDArray[np.uint8]:
    (stamped,) = pattern.stamp(np.full((1, *pattern.scale.shape), _GRAY, np.uint8))
    return np.asarray(stamped, np.uint8)


def _mask(pattern: Pattern) -> NDArray[np.uint8]:
    """White where an image becomes what the pattern says, gray by how much it is changed elsewhere."""
    change = np.abs(pattern.offset - pattern.offset.mean((0, 1))).max(2)
    change[pattern.patch] = 0
    most = float(change.max())
    shade = np.zeros(change.shape) if pattern.patch.any() or most <= 0 else 255 * change / most
    shade[pattern.patch] = 255
    mask: NDArray[np.uint8] = np.rint(shade).astype(np.uint8)[:, :, None]
    return mask
