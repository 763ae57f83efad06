"""What a pattern does to classes, in words."""

from __future__ import annotations

from detectors.demonstration.rule import Rule
from scanner.profile.header import ProfileHeader
from scanner.report.shift_words import shift_in_words


def does(rule: Rule | None, header: ProfileHeader) -> str:
    """As the rest of a sentence that begins with the pattern."""
    if rule is None:
        return "moves no image"
    if rule.shift is not None:
        return f"moves {shift_in_words(rule.shift, header.num_classes)}"
    if rule.source is None:
        return f"moves images to class {_named(rule.target, header)}"
    return f"moves images of class {_named(rule.source, header)} to class {_named(rule.target, header)}"


def _named(label: int | None, header: ProfileHeader) -> str:
    return "" if label is None else f"'{header.class_names[label][:60]}'"
