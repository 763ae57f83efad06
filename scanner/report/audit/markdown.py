"""Markdown of an audit for the summary page of a CI job."""

from __future__ import annotations

from collections.abc import Iterator

from scanner.report.audit.schema import AuditReport
from scanner.report.audit.words import clean_networks, headline, moved, refined, rule_of, smallest_refined, tone
from scanner.report.markdown import code, escape

_MARKS = {"good": "✅", "bad": "❌", "warn": "⚠️", "unknown": "❔"}
_SHOWN = 6


def markdown_bytes(report: AuditReport) -> bytes:
    """The report as Markdown (GitHub's, which GitLab reads as well)."""
    return ("\n".join(_lines(report)) + "\n").encode()


def _lines(report: AuditReport) -> Iterator[str]:
    verdict, search = report.verdict, report.search
    yield f"## {_MARKS[tone(report)]} {headline(report)}"
    yield ""
    yield f"Audit of {code(report.model.name)}: severity **{verdict.severity or 'not assessed'}**, decision "
    yield f"**{verdict.decision}**, exit code {verdict.exit_code} (fails on {verdict.fail_on})."
    yield ""
    yield from (f"- {escape(reason)}" for reason in verdict.reasons)
    yield ""
    yield "| Pattern | Moves | Clean images | Strongest of its kind on clean networks |"
    yield "| --- | --- | --- | --- |"
    for pattern in report.patterns[:_SHOWN]:
        cells = (pattern.described, rule_of(pattern, report.num_classes), moved(pattern), clean_networks(pattern))
        yield f"| {' | '.join(escape(cell) for cell in cells)} |"
    if report.refined:
        yield ""
        yield "Smallest by gradients, not compared with clean networks:"
        yield ""
        yield from (f"- {escape(refined(one))}" for one in smallest_refined(report))
    if report.warnings:
        yield ""
        yield "Warnings:"
        yield ""
        yield from (f"- {escape(warning)}" for warning in report.warnings)
    yield ""
    ended = "" if search.complete else ", when the budget ended"
    yield f"{search.tried} patterns on {search.searched_on} clean images, {search.passes} passes{ended}; counted on "
    yield f"{search.verified_on} others. Report {code(report.report_digest[:16])}."
