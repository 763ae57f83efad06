"""One HTML page that needs nothing else: no network, no server, no other file.

Names in a report are chosen by whoever made the files, so the page trusts none of them. The template escapes every
value, after `printable` made invisible and direction-changing characters visible. The embedded JSON has every ``<``,
``>`` and ``&`` escaped. The Content-Security-Policy allows one style sheet and one script, by their digests, and
pictures that are part of the page: whatever slipped through could neither run nor send anything.

The page stays below 1 MB whatever was scanned: long lists are cut, and the page says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from scanner.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, p_value_chart, score_chart
from scanner.report.json_report import document, visible
from scanner.report.page_trigger import shown_trigger
from scanner.report.schema import Finding, GalleryItem, InputRow, LayerVoice, LoudestPlace, Report
from scanner.report.templates import asset, environment, source_hash
from scanner.verdict.catalogue import catalogue
from scanner.verdict.terms import Decision, Severity

UNLIKE, DEMONSTRATED = "LS207", "LS120"
MAX_ROWS = 100
MAX_CLASSES = 100
MAX_LISTED = 50
MAX_JSON_BYTES = 240_000
MAX_PICTURE_BYTES = 360_000
_LOUD = 8.0
_BAR = 100.0
_RADIUS = 0.11

_HEADLINES = {
    None: "No verdict: the evidence cannot be used",
    Severity.NONE: "No evidence of a backdoor in the scanned inputs",
    Severity.LOW: "Weak evidence of a backdoor",
    Severity.MEDIUM: "Some evidence of a backdoor",
    Severity.HIGH: "Strong evidence of a backdoor",
    Severity.CRITICAL: "Overwhelming evidence of a backdoor",
}


@dataclass(frozen=True)
class LayerBar:
    """One layer of an input as a bar: its length out of 100, and whether it is loud."""

    name: str
    value: str
    length: float


@dataclass(frozen=True)
class Spot:
    """A circle over a picture, in its pixels, and what it says."""

    width: int
    height: int
    x: float
    y: float
    radius: float
    place: LoudestPlace


@dataclass(frozen=True)
class Card:
    """One suspicious input as the gallery shows it."""

    row: InputRow
    picture: str | None
    nearest: str | None
    nearest_name: str | None
    nearest_class: str | None
    layers: tuple[LayerBar, ...]
    finding: Finding | None
    spot: Spot | None


def html_bytes(report: Report) -> bytes:
    """The report as one HTML page."""
    template = environment().get_template("report.html.jinja")
    style, script = asset("report.css"), asset("report.js")
    embedded, left_out = embedded_json(report)
    by_index = {finding.index: finding for finding in report.findings if finding.subject == "input"}
    targets = {finding.index: finding for finding in report.findings if finding.subject == "class"}
    data = report.distributions
    page = template.render(
        report=report,
        headline=headline(report),
        tone=tone(report),
        cards=_cards(report, by_index),
        rows=report.top_inputs[:MAX_ROWS],
        rows_left_out=max(len(report.top_inputs) - MAX_ROWS, 0),
        findings=by_index,
        classes=_classes(report)[:MAX_CLASSES],
        classes_left_out=max(len(_classes(report)) - MAX_CLASSES, 0),
        targets=targets,
        p_adjusted={target.class_index: target.p_adjusted for target in report.batch.target_classes},
        model_finding=next((f for f in report.findings if f.subject == "model"), None),
        suppressed=[finding for finding in report.findings if finding.suppressed is not None][:MAX_LISTED],
        trigger=shown_trigger(report),
        score_chart=None if data is None else score_chart(data),
        p_chart=None if data is None else p_value_chart(data),
        frame={"w": WIDTH, "h": HEIGHT, "l": LEFT, "r": RIGHT, "t": TOP, "b": BOTTOM},
        rules=catalogue(),
        style=style,
        script=script,
        policy=content_security_policy(style, script),
        embedded=embedded,
        left_out=left_out,
        max_listed=MAX_LISTED,
    )
    return page.encode()


def headline(report: Report) -> str:
    """The verdict in one sentence."""
    verdict = report.verdict
    text = _HEADLINES[verdict.severity]
    if verdict.exit_code == 3 and verdict.severity is Severity.NONE:
        text = "Inconclusive: nothing was found, and nothing could have been concluded from it"
    elif verdict.exit_code == 3 and UNLIKE in verdict.rule_ids and verdict.decision is Decision.REVIEW:
        text = "Inconclusive: the inputs are unlike the reference"
    elif DEMONSTRATED in verdict.rule_ids:
        text = "A backdoor, demonstrated"
    elif verdict.exit_code == 3 and verdict.severity is not None:
        text += ", and the scan is inconclusive"
    return text


def tone(report: Report) -> str:
    """The colour that the page is set in: 'good', 'bad', 'warn' or 'unknown'. Words always say the same."""
    verdict = report.verdict
    if verdict.exit_code == 3 or verdict.severity is None:
        return "unknown"
    if verdict.severity is Severity.NONE:
        return "good"
    return "bad" if verdict.severity.rank >= Severity.HIGH.rank else "warn"


def content_security_policy(style: str, script: str | None) -> str:
    """Allow this style sheet and this script, pictures in the page, and nothing else."""
    scripts = "" if script is None else f"script-src '{source_hash(script)}'; "
    return (
        "default-src 'none'; img-src data:; "
        f"style-src '{source_hash(style)}'; {scripts}"
        "base-uri 'none'; form-action 'none'"
    )


def embedded_json(report: Report) -> tuple[str, list[str]]:
    """The report's JSON for a script element, and what was left out of it to keep the page small.

    Pictures are in the page itself; the digest does not cover them, so it can be checked all the same.
    """
    values: dict[str, Any] = document(report)
    values["pictures"] = {}
    text = _script_safe(values)
    left_out: list[str] = []
    for path in (
        "demonstration.by_class",
        "batch.by_class",
        "batch.flagged_by_class",
        "findings",
        "top_inputs",
        "gallery",
        "inputs.unreadable_inputs",
        "reference.per_class",
        "detector",
        "preprocess.candidates",
        "preprocess.spec",
        "warnings",
        "batch.target_classes",
        "batch.shared_units",
        "batch.labels",
        "model.notes",
        "run.argv",
        "tool.libraries",
        "profile.created_with",
        "checks",
        "verdict.reasons",
    ):
        if len(text.encode()) <= MAX_JSON_BYTES:
            return text, left_out
        *parents, last = path.split(".")
        place = values
        for parent in parents:
            place = place[parent] or {}
        place[last] = None
        left_out.append(path)
        text = _script_safe(values)
    if len(text.encode()) > MAX_JSON_BYTES:  # a name of many kilobytes
        return _script_safe({"report_digest": report.report_digest}), ["everything"]
    return text, left_out


def _script_safe(values: JsonValue) -> str:
    text = visible(json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _cards(report: Report, findings: dict[int | None, Finding]) -> list[Card]:
    rows = {row.index: row for row in report.top_inputs}
    spent, cards = 0, []

    def source(key: str | None) -> str | None:
        nonlocal spent
        picture = report.pictures.get(key) if key else None
        if picture is None or spent + len(picture.data) > MAX_PICTURE_BYTES:
            return None
        spent += len(picture.data)
        return f"data:{picture.type};base64,{picture.data}"

    for item in report.gallery:
        row = rows.get(item.index)
        if row is None:
            continue
        near, shown = item.nearest, source(item.picture)
        cards.append(
            Card(
                row=row,
                picture=shown,
                nearest=source(near.picture) if near else None,
                nearest_name=near.id if near else None,
                nearest_class=near.class_name if near else None,
                layers=tuple(_bars(item.layers)),
                finding=findings.get(item.index),
                spot=_spot(report, item) if shown else None,
            )
        )
    return cards


def _spot(report: Report, item: GalleryItem) -> Spot | None:
    """The circle over an input's picture, which shows all that the network sees."""
    if item.place is None or item.picture is None:
        return None
    width, height = report.pictures[item.picture].width, report.pictures[item.picture].height
    x, y = round(item.place.column * width, 2), round(item.place.row * height, 2)
    return Spot(width, height, x, y, round(_RADIUS * min(width, height), 2), item.place)


def _bars(layers: Sequence[LayerVoice]) -> list[LayerBar]:
    loudest = max((voice.z for voice in layers if voice.z is not None), default=0.0)
    scale = max(loudest, _LOUD)
    return [
        LayerBar(
            name=voice.tap,
            value="∞" if voice.z is None else f"{voice.z:.1f}",
            length=_BAR if voice.z is None else round(_BAR * min(max(voice.z / scale, 0.0), 1.0), 1),
        )
        for voice in layers
    ]


def _classes(report: Report) -> list[Any]:
    """Classes for the table: suspected targets first, then by flagged inputs."""
    order = {target.class_index: position for position, target in enumerate(report.batch.target_classes)}
    listed = report.batch.by_class or report.batch.flagged_by_class
    return sorted(listed, key=lambda c: (order.get(c.class_index, len(order)), -c.flagged, c.class_index))
