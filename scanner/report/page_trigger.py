"""What the page shows of a trigger: the pattern, its mask, clean images before and after, and the words for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scanner.report.schema import DemonstrationSection, FlipsOfClass, Report
from scanner.report.shift_words import shift_in_words

MAX_PICTURE_BYTES: Final = 100_000
MAX_CLASSES: Final = 20


@dataclass(frozen=True)
class Example:
    """One clean image before and after, as sources of pictures."""

    before: str | None
    after: str | None
    predicted_before: str | None
    predicted_after: str | None


@dataclass(frozen=True)
class ShownTrigger:
    """A trigger, or what was taken for one, as the page shows it.

    Attributes:
        section: The figures.
        pattern: Source of its picture; None without one.
        mask: Likewise, of its mask.
        examples: Clean images before and after.
        rule: What it does to classes, in words.
        by_class: Changes by class, the most first.
    """

    section: DemonstrationSection
    pattern: str | None
    mask: str | None
    examples: tuple[Example, ...]
    rule: str
    by_class: tuple[FlipsOfClass, ...]


def shown_trigger(report: Report) -> ShownTrigger | None:
    """What the page shows, or None where no trigger was looked for."""
    section = report.demonstration
    if section is None:
        return None
    spent = 0

    def source(key: str | None) -> str | None:
        nonlocal spent
        picture = report.pictures.get(key) if key else None
        if picture is None or spent + len(picture.data) > MAX_PICTURE_BYTES:
            return None
        spent += len(picture.data)
        return f"data:{picture.type};base64,{picture.data}"

    return ShownTrigger(
        section,
        source(section.pattern),
        source(section.mask),
        tuple(
            Example(source(one.before), source(one.after), one.predicted_before, one.predicted_after)
            for one in section.examples
        ),
        rule_in_words(section),
        section.by_class[:MAX_CLASSES],
    )


def rule_in_words(section: DemonstrationSection) -> str:
    """What a pattern does to classes."""
    if section.shift is not None:
        return shift_in_words(section.shift)
    if section.target_name is None:
        return "no image to another class"
    if section.source_name is None:
        return f"images to class {section.target_name}"
    return f"images of class {section.source_name} to class {section.target_name}"
