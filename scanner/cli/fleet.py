"""``modelscan fleet``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scanner.cli import judging

if TYPE_CHECKING:
    from scanner.report.fleet.schema import FleetReport


def fleet(
    table: Annotated[Path, typer.Argument(help="CSV file with a row for each model: name,model,reference,inputs.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the summary, and for each model's profile and reports.")
    ],
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="Models at a time.")] = 1,
    alpha: Annotated[
        str | None, typer.Option(help="Share of clean inputs that is flagged on average. [default: 0.01]")
    ] = None,
    fail_on: judging.FailOnLevel = None,
    min_confidence: judging.MinConfidence = None,
    max_unreadable: judging.MaxUnreadable = None,
    ignore: judging.Ignore = None,
    device: judging.DeviceName = None,
    threads: judging.Threads = None,
    config: judging.Config = None,
    lockdown: judging.Lockdown = True,
    quiet: judging.Quiet = False,
) -> None:
    """Fit and scan many models, each in processes of its own, and write one summary, the severest first.

    Run again, it goes on where it was. Findings are corrected for the number of models.
    """
    import latentscan
    from scanner.cli.console import TerminalProgress
    from scanner.verdict.gate_policy import resolve

    settings: dict[str, Any] = {
        "alpha": alpha,
        "fail_on": fail_on,
        "min_confidence": min_confidence,
        "max_unreadable": max_unreadable,
        "ignore": ignore,
        "device": device,
        "threads": threads,
    }
    # What is wrong is named as it was given here.
    resolve({name.replace("_", "-"): value for name, value in settings.items()}, config)
    options = latentscan.FleetOptions(table, output, jobs, config=config, lockdown=lockdown, **settings)
    with TerminalProgress(quiet) as progress:
        summary = latentscan.fleet(options, progress)
    if not quiet:
        _print(summary, output)
    raise typer.Exit(summary.exit_code)


def _print(summary: FleetReport, output: Path) -> None:
    from scanner.base.text import printable
    from scanner.cli.console import stderr_console
    from scanner.report.fleet.html import headline, word

    console = stderr_console()
    for model in summary.models:
        found = f"{word(model):<12} exit {model.exit_code}  {printable(model.name, 60)}"
        why = model.message if model.status == "failed" else model.changed
        console.print(found + (f": {printable(why, 300)}" if why else ""), markup=False)
    where = printable(str(output / "fleet.html"))
    console.print(f"{headline(summary)}: {where}", markup=False)
