"""``modelscan report``: another format of a report that exists, without scanning again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def report(
    file: Annotated[Path, typer.Argument(help="JSON report that 'scan' or 'audit' wrote.")],
    to: Annotated[
        str | None,
        typer.Option(help="html, sarif, junit, md, intoto, cyclonedx, json or text. [default: text, or by --output]"),
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="File to write; '-' for standard output.")] = "-",
) -> None:
    """Render a JSON report in another format."""
    import latentscan
    from scanner.cli.lock import locked_rendering
    from scanner.report.formats import STDOUT

    with locked_rendering(file, output):
        if to in (None, "text") and output == STDOUT:
            _print(file)
        else:
            latentscan.report(file, to, output)


def _print(file: Path) -> None:
    from scanner.report.audit.read import read_either
    from scanner.report.audit.schema import AuditReport
    from scanner.report.audit.terminal import print_audit
    from scanner.report.terminal import print_summary

    report = read_either(file)
    if isinstance(report, AuditReport):
        print_audit(report, sys.stdout)
    else:
        print_summary(report, sys.stdout, detail="full")
