"""The HTML page of an audit: like a scan's, it needs nothing else, and trusts no name."""

from __future__ import annotations

from dataclasses import dataclass

from scanner.report.audit.schema import AuditReport, PatternSection
from scanner.report.audit.words import clean_networks, effect, found_rule, headline, tone
from scanner.report.html import content_security_policy
from scanner.report.templates import asset, environment
from scanner.verdict.catalogue import catalogue

_MAX_PICTURE_BYTES = 600_000


@dataclass(frozen=True)
class _Shown:
    """A pattern as the page shows it: its pictures are sources, or None."""

    section: PatternSection
    effect: str
    clean_networks: str
    picture: str | None
    examples: tuple[tuple[str | None, str | None, str | None, str | None], ...]


def html_bytes(report: AuditReport) -> bytes:
    """The report as one HTML page."""
    rule, style = found_rule(report), asset("report.css")
    page = (
        environment()
        .get_template("audit.html.jinja")
        .render(
            report=report,
            headline=headline(report),
            tone=tone(report),
            patterns=_patterns(report),
            rule=None if rule is None else catalogue()[rule],
            style=style,
            policy=content_security_policy(style, None),
        )
    )
    return page.encode()


def _patterns(report: AuditReport) -> list[_Shown]:
    spent = 0

    def source(key: str | None) -> str | None:
        nonlocal spent
        picture = report.pictures.get(key) if key else None
        if picture is None or spent + len(picture.data) > _MAX_PICTURE_BYTES:
            return None
        spent += len(picture.data)
        return f"data:{picture.type};base64,{picture.data}"

    return [
        _Shown(
            pattern,
            effect(pattern, report.num_classes),
            clean_networks(pattern),
            source(pattern.pattern),
            tuple(
                (source(one.before), source(one.after), one.predicted_before, one.predicted_after)
                for one in pattern.examples
            ),
        )
        for pattern in report.patterns
    ]
