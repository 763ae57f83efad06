"""The summary of a fleet as one HTML page, with a link to each model's own.

As the page of a report: every value is escaped after what is invisible was made visible, and the
Content-Security-Policy allows one style sheet and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from scanner.report.fleet.schema import FleetModel, FleetReport
from scanner.report.templates import asset, environment, source_hash
from scanner.verdict.terms import Severity

MOST_ROWS: Final = 2000
_OUTCOMES: Final[Mapping[Literal[0, 1, 2, 3], str]] = {1: "Failing", 2: "No verdict", 3: "Inconclusive", 0: "Passing"}
_TONES: Final = {0: "good", 1: "bad", 2: "unknown", 3: "unknown"}


@dataclass(frozen=True)
class Count:
    """So many models, and what is so of them."""

    what: str
    models: int


def html_bytes(summary: FleetReport) -> bytes:
    """The content of ``fleet.html``."""
    style = asset("report.css")
    shown = summary.models[:MOST_ROWS]
    page = (
        environment()
        .get_template("fleet.html.jinja")
        .render(
            fleet=summary,
            headline=headline(summary),
            tone=_TONES[summary.exit_code],
            counts=counts(summary),
            models=shown,
            words=[word(model) for model in shown],
            tones=[_tone(model) for model in shown],
            left_out=len(summary.models) - len(shown),
            style=style,
            policy=f"default-src 'none'; style-src '{source_hash(style)}'; base-uri 'none'; form-action 'none'",
        )
    )
    return page.encode()


def headline(summary: FleetReport) -> str:
    """What came out, in a sentence."""
    codes = Counter(model.exit_code for model in summary.models)
    total = len(summary.models)
    if codes[1]:
        return f"{codes[1]} of {total} models fail"
    if unjudged := codes[2] + codes[3]:
        return f"{unjudged} of {total} models could not be judged"
    return f"No model of {total} fails"


def counts(summary: FleetReport) -> list[Count]:
    """Models by outcome."""
    codes = Counter(model.exit_code for model in summary.models)
    return [Count(what, codes[code]) for code, what in _OUTCOMES.items() if codes[code]]


def word(model: FleetModel) -> str:
    """The severity of a model in a word or two."""
    if model.status == "failed":
        return "failed"
    if model.severity is None:
        return "not assessed"
    return "no verdict" if model.severity is Severity.NONE and model.exit_code == 3 else str(model.severity)


def _tone(model: FleetModel) -> str:
    if model.severity is None or word(model) == "no verdict":
        return "none"
    if model.severity is Severity.NONE:
        return "good"
    return "bad" if model.severity.rank >= Severity.HIGH.rank else "warn"
