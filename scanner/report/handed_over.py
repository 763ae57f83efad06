"""What every format says of an audit's pattern in the same words."""

from __future__ import annotations

from scanner.report.schema import HandedOverSection


def pattern_in_words(handed: HandedOverSection) -> str:
    """The pattern, what it moves, and how many flagged inputs end in its class."""
    text = f"{handed.pattern} {handed.does}, {handed.moved} of {handed.eligible} clean images"
    if handed.suspicious_in_target is None or handed.ordinary_in_target is None or handed.agreement_p is None:
        return f"{text}; it leads to no single class"
    return (
        f"{text}; {handed.suspicious_in_target} of {handed.suspicious} flagged inputs end there, and "
        f"{handed.ordinary_in_target} of {handed.ordinary} others (p {handed.agreement_p:.2g})"
    )
