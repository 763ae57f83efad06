"""``modelscan report``: another format of a report that exists, without scanning again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def report(
    file: Annotated[Path, typer.Argument(help="JSON report that 'scan' wrote.")],
    to: Annotated[
        str | None,
        typer.Option(help="html, sarif, junit, md, intoto, cyclonedx, json or text. [default: text, or by --output]"),
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="File to write; '-' for standard output.")] = "-",
) -> None:
    """Render a JSON report in another format."""
    from scanner.report.formats import STDOUT, check_reports, format_named, format_of, write_bytes
    from scanner.report.read import read_report

    if to in (None, "text") and output == STDOUT:
        from scanner.report.terminal import print_summary

        print_summary(read_report(file)[0], sys.stdout, detail="full")
        return
    form = format_of(output) if to is None else format_named(to)
    if to is None:
        check_reports([output])
    finished, _ = read_report(file)
    write_bytes(form.render(finished), output)
