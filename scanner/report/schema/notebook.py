"""How a report shows itself in a notebook: one small table, with nothing from elsewhere and nothing that runs.

Names in a report are chosen by whoever made the files, so every text is made visible and then escaped, here and not by
the caller. `latentscan.report(report, "html")` is the whole page.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Final

from scanner.base.text import printable
from scanner.profile.header import ModelInfo
from scanner.report.schema.inputs import InputRow, InputsSection
from scanner.report.schema.verdict import VerdictSection
from scanner.verdict.terms import Severity

_SHOWN_INPUTS: Final = 10
_SHOWN_WARNINGS: Final = 5
_SENTENCE: Final = 1000
_NAME: Final = 60
_BADGES: Final = {
    None: "#6e5494",
    Severity.NONE: "#1a7f37",
    Severity.LOW: "#9a6700",
    Severity.MEDIUM: "#9a6700",
    Severity.HIGH: "#b42318",
    Severity.CRITICAL: "#b42318",
}
_COLUMNS: Final = ("", "input", "predicted", "looks like", "p")


def notebook_html(
    verdict: VerdictSection,
    model: ModelInfo,
    inputs: InputsSection,
    rows: Sequence[InputRow],
    warnings: Sequence[str],
) -> str:
    """The verdict, why, and the most suspicious inputs.

    Args:
        verdict: What follows.
        model: The suspect.
        inputs: What was scanned.
        rows: The most suspicious inputs, most suspicious first; the first ten are shown.
        warnings: What to know before relying on it; the first five are shown.
    """
    # The classes keep notebooks from typesetting what stands between dollar signs in a name.
    parts = "".join(_parts(verdict, model, inputs, rows, warnings))
    return f'<div class="latentscan tex2jax_ignore mathjax_ignore">{parts}</div>'


def _parts(
    verdict: VerdictSection,
    model: ModelInfo,
    inputs: InputsSection,
    rows: Sequence[InputRow],
    warnings: Sequence[str],
) -> Iterator[str]:
    severity = "not assessed" if verdict.severity is None else verdict.severity.value
    accepted = ", accepted" if verdict.accepted is not None else ""
    badge = f"background:{_BADGES[verdict.severity]};color:#fff;padding:2px 8px;border-radius:4px"
    yield (
        f'<p><strong style="{badge}">{severity.upper()}</strong> {verdict.decision.value}, {verdict.confidence.value}'
        f"{accepted} (exit code {verdict.exit_code}, fails on {verdict.fail_on.value})</p>"
    )
    yield _list(verdict.reasons)
    yield (
        f"<p>Model {_safe(model.name, _NAME)}, sha256 {model.sha256[:16]}; {inputs.scanned} inputs scanned, "
        f"{inputs.unreadable} unreadable</p>"
    )
    if rows:
        yield _table(rows[:_SHOWN_INPUTS])
    if warnings:
        more = len(warnings) - _SHOWN_WARNINGS
        yield "<p><strong>Warnings</strong></p>"
        yield _list([*warnings[:_SHOWN_WARNINGS], *([f"and {more} more in the report"] if more > 0 else [])])


def _list(sentences: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{_safe(text, _SENTENCE)}</li>' for text in sentences)}</ul>"


def _table(rows: Sequence[InputRow]) -> str:
    head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(row))}</tr>" for row in rows)
    return (
        "<table><caption>Most suspicious inputs (! is flagged)</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cells(row: InputRow) -> tuple[str, ...]:
    predicted = "not finite" if row.finite is False else row.predicted_class or ""
    return (
        "!" if row.flagged else "",
        _safe(row.id, _NAME),
        _safe(predicted, _NAME),
        _safe(row.source_class or "", _NAME),
        "" if row.p_value is None else f"{row.p_value:.2g}",
    )


def _safe(text: str, limit: int) -> str:
    return html.escape(printable(text, limit))
