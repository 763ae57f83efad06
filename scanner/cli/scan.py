"""``modelscan scan``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from scanner.cli.fit import parse_device
from scanner.errors import UsageError
from scanner.options import ScanOptions
from scanner.verdict.terms import FailOn


def scan(
    inputs: Annotated[
        Path, typer.Argument(help="What to score: a folder, one image, a .csv/.jsonl manifest, .npz or .npy.")
    ],
    profile: Annotated[Path, typer.Option(help="Profile written by 'fit'.")] = Path("modelscan.h5"),
    report: Annotated[
        list[str] | None, typer.Option(help="Report file, format by suffix (.json); '-' for JSON on standard output.")
    ] = None,
    rows: Annotated[Path | None, typer.Option(help="Every input's row: .jsonl or .parquet.")] = None,
    alpha: Annotated[float, typer.Option(help="Share of clean inputs that is flagged on average.")] = 0.01,
    fail_on: Annotated[
        str, typer.Option(help="Severity that exits with 1: never, low, medium, high, critical.")
    ] = "high",
    max_unreadable: Annotated[float, typer.Option(help="Share of unreadable inputs that makes it inconclusive.")] = 0.1,
    top: Annotated[int, typer.Option(min=0, max=10_000, help="Most suspicious inputs in the report.")] = 50,
    model: Annotated[Path | None, typer.Option(help="Check that the profile was made for exactly this file.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="Worker threads; default one per core.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Score inputs, and say whether they and the model show a backdoor."""
    if not 0.0 < alpha < 1.0:
        raise UsageError(f"{alpha} is not between 0 and 1", where="--alpha")
    if not 0.0 <= max_unreadable <= 1.0:
        raise UsageError(f"{max_unreadable} is not between 0 and 1", where="--max-unreadable")
    options = ScanOptions(
        inputs=inputs,
        profile=profile,
        reports=tuple(report or ()),
        rows=rows,
        alpha=alpha,
        fail_on=parse_fail_on(fail_on),
        max_unreadable=max_unreadable,
        top=top,
        model=model,
        device=parse_device(device),
        threads=threads,
    )
    from scanner.cli.console import TerminalProgress
    from scanner.cli.doctor import NAME_CLASH, name_clash
    from scanner.run_scan import run_scan

    with TerminalProgress(quiet) as progress:
        if name_clash():
            progress.say(f"warning: {NAME_CLASH}")
        finished = run_scan(options, progress)
    if not quiet:
        from scanner.report.terminal import print_summary

        print_summary(finished, sys.stderr if "-" in options.reports else sys.stdout)
    raise typer.Exit(finished.verdict.exit_code)


def parse_fail_on(text: str) -> FailOn:
    """The value of ``--fail-on``.

    Raises:
        UsageError: If it is no severity.
    """
    try:
        return FailOn(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a severity", where="--fail-on", hint="Use never, low, medium, high or critical"
        ) from None
