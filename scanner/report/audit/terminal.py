"""The summary that a person reads when an audit ends: plain lines of at most 80 columns, names made printable."""

from __future__ import annotations

import textwrap
from typing import TextIO

from scanner.base.text import printable
from scanner.report.audit.schema import AuditReport
from scanner.report.audit.words import clean_networks, effect, headline, refined, smallest_refined
from scanner.verdict.terms import Severity

_WIDTH = 80
_SHOWN = 4
_SHOWN_WARNINGS = 5


def print_audit(report: AuditReport, stream: TextIO) -> None:
    """Print the summary of an audit."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    text = "\n".join(_lines(report)) + "\n"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _lines(report: AuditReport) -> list[str]:
    verdict, search, networks = report.verdict, report.search, report.networks
    severity = "not assessed" if verdict.severity is None else str(verdict.severity)
    if verdict.exit_code == 3 and verdict.severity is Severity.NONE:
        severity = "no verdict"
    words = [str(verdict.decision), str(verdict.outcome), *([] if verdict.accepted is None else ["ACCEPTED"])]
    lines = [
        f"Verdict:  {severity.upper()}  {', '.join(dict.fromkeys(words))} "
        f"(exit code {verdict.exit_code}, fails on {verdict.fail_on})",
        "",
        headline(report) + ".",
        "",
    ]
    for reason in verdict.reasons:
        lines += textwrap.wrap(printable(reason, 1200), _WIDTH, initial_indent="- ", subsequent_indent="  ")
    lines.append("")
    accuracy = "unknown (no labels)" if report.clean.accuracy is None else f"{report.clean.accuracy:.2%}"
    ended = "" if search.complete else ", cut short by the budget"
    lines += [
        f"Clean images  {report.clean.images}, accuracy {accuracy}",
        f"Search        {search.tried} patterns, {search.passes} passes{ended}",
        "Networks      "
        + (
            "none to compare with"
            if networks is None
            else f"{networks.networks} clean ones, p = {networks.p_value:.2g} at level {networks.alpha:g}"
        ),
        "",
        "Strongest patterns, on clean images that had no part in finding them",
    ]
    for pattern in report.patterns[:_SHOWN]:
        told = f"{pattern.described} {effect(pattern, report.num_classes)}; clean networks: "
        lines += textwrap.wrap(
            printable(told + clean_networks(pattern), 600), _WIDTH, initial_indent="  ", subsequent_indent="    "
        )
    if report.refined:
        lines += ["", "Smallest by gradients, not compared with clean networks"]
    for one in smallest_refined(report):
        lines += textwrap.wrap(printable(refined(one), 600), _WIDTH, initial_indent="  ", subsequent_indent="    ")
    if report.warnings:
        lines += ["", "Warnings"]
    for warning in report.warnings[:_SHOWN_WARNINGS]:
        lines += textwrap.wrap(printable(warning, 600), _WIDTH, initial_indent="- ", subsequent_indent="  ")
    if len(report.warnings) > _SHOWN_WARNINGS:
        lines.append(f"- and {len(report.warnings) - _SHOWN_WARNINGS} more in the report")
    return lines
