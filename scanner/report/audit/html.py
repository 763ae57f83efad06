"""The HTML page of an audit: like a scan's, it needs nothing else, and trusts no name."""

from __future__ import annotations

from dataclasses import dataclass

from scanner.report.audit.schema import AuditReport, PatternSection, RefinedSection
from scanner.report.audit.words import beside, clean_networks, effect, found_rule, headline, refined, tone
from scanner.report.html import content_security_policy
from scanner.report.templates import asset, environment
from scanner.verdict.catalogue import catalogue

_MAX_PICTURE_BYTES = 600_000


@dataclass(frozen=True)
class _Shown:
    """A pattern as the page shows it: its pictures are sources, or None."""

    section: PatternSection
    effect: str
    beside: str
    clean_networks: str
    picture: str | None
    examples: tuple[tuple[str | None, str | None, str | None, str | None], ...]


@dataclass(frozen=True)
class _ShownRefined:
    """A refined pattern as the page shows it."""

    section: RefinedSection
    told: str
    picture: str | None


def html_bytes(report: AuditReport) -> bytes:
    """The report as one HTML page."""
    rule, style, pictures = found_rule(report), asset("report.css"), _Pictures(report)
    patterns = [_shown(one, report, pictures) for one in report.patterns]
    smallest = [_ShownRefined(one, refined(one), pictures.source(one.pattern)) for one in report.refined]
    page = (
        environment()
        .get_template("audit.html.jinja")
        .render(
            report=report,
            headline=headline(report),
            tone=tone(report),
            patterns=patterns,
            refined=smallest,
            rule=None if rule is None else catalogue()[rule],
            style=style,
            policy=content_security_policy(style, None),
        )
    )
    return page.encode()


class _Pictures:
    """The report's pictures as sources, as far as a page may grow by them."""

    def __init__(self, report: AuditReport) -> None:
        self._pictures, self._spent = report.pictures, 0

    def source(self, key: str | None) -> str | None:
        """A picture's source; None where there is none, or the page has enough."""
        picture = self._pictures.get(key) if key else None
        if picture is None or self._spent + len(picture.data) > _MAX_PICTURE_BYTES:
            return None
        self._spent += len(picture.data)
        return f"data:{picture.type};base64,{picture.data}"


def _shown(pattern: PatternSection, report: AuditReport, pictures: _Pictures) -> _Shown:
    return _Shown(
        pattern,
        effect(pattern, report.num_classes),
        beside(pattern, report),
        clean_networks(pattern),
        pictures.source(pattern.pattern),
        tuple(
            (pictures.source(one.before), pictures.source(one.after), one.predicted_before, one.predicted_after)
            for one in pattern.examples
        ),
    )
