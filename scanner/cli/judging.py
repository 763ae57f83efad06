"""What `scan` and `merge` have in common: the options of judging, and what they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from scanner.base.device import Device
from scanner.base.errors import UsageError
from scanner.verdict.terms import Confidence, FailOn

if TYPE_CHECKING:
    from scanner.cli.console import TerminalProgress
    from scanner.report.schema import Report
    from scanner.verdict.gate_policy import Policy

Reports = Annotated[
    list[str] | None,
    typer.Option(
        help="Report file, repeatable; format by suffix: .json, .html, .sarif, .xml (JUnit), .md, .intoto.json, "
        ".cdx.json; '-' for JSON on standard output."
    ),
]
Rows = Annotated[Path | None, typer.Option(help="Every input's row: .jsonl or .parquet.")]
FailOnLevel = Annotated[
    str | None, typer.Option(help="Severity that exits with 1: never, low, medium, high, critical. [default: high]")
]
MinConfidence = Annotated[
    str | None, typer.Option(help="Least confidence to pass with: provisional or calibrated. [default: provisional]")
]
MaxUnreadable = Annotated[
    str | None, typer.Option(help="Share of unreadable inputs that makes it inconclusive. [default: 0.1]")
]
AllowDrift = Annotated[
    str | None,
    typer.Option(help="Reason for scanning inputs that are unlike the reference; without one it is inconclusive."),
]
Clean = Annotated[
    Path | None, typer.Option(help="Clean images to try a trigger on, instead of those that the profile keeps.")
]
Audit = Annotated[
    Path | None, typer.Option(help="Report (.json) of an audit of the same model: its patterns are tried as well.")
]
Baseline = Annotated[str | None, typer.Option(help="Earlier report (.json) whose findings are known.")]
Ignore = Annotated[str | None, typer.Option(help="Ignore file (.toml): findings with a reason and an end.")]
Top = Annotated[str | None, typer.Option(help="Most suspicious inputs in the report. [default: 50]")]
Gallery = Annotated[str | None, typer.Option(help="How many of them are shown as pictures, at most 48. [default: 24]")]
DeviceName = Annotated[str | None, typer.Option(help="auto, cpu or cuda. [default: auto]")]
Threads = Annotated[str | None, typer.Option(help="Worker threads. [default: one per core]")]
Config = Annotated[Path | None, typer.Option(help="Configuration file instead of latentscan.toml or pyproject.toml.")]
Lockdown = Annotated[
    bool, typer.Option(help="Give up network, programs and all other files before anything of a stranger is read.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print every check, every class and where settings come from.")
]


def judging(policy: Policy) -> Mapping[str, Any]:
    """The fields of `ScanOptions` that the settings decide."""
    values = policy.values
    return {
        "alpha": cast(float, values["alpha"]),
        "fail_on": FailOn(str(values["fail-on"])),
        "min_confidence": Confidence(str(values["min-confidence"])),
        "max_unreadable": cast(float, values["max-unreadable"]),
        "baseline": policy.path("baseline"),
        "ignore": policy.path("ignore"),
        "top": cast(int, values["top"]),
        "gallery": cast(int, values["gallery"]),
        "device": cast(Device, values["device"]),
        "threads": cast(int | None, values["threads"]),
        "allow_drift": cast(str | None, values["allow-drift"]),
        "policy": policy,
    }


def require_one_of_quiet_and_verbose(quiet: bool, verbose: bool) -> None:
    """Refuse both.

    Raises:
        UsageError: Both are given.
    """
    if quiet and verbose:
        raise UsageError("contradict each other", where="--quiet and --verbose", hint="Give one of them")


def say_settings(policy: Policy | None, progress: TerminalProgress) -> None:
    """Which configuration file counts, and which do not."""
    from scanner.cli.doctor import NAME_CLASH, name_clash

    if name_clash():
        progress.say(f"warning: {NAME_CLASH}")
    if policy is not None and policy.config is not None:
        progress.say(f"configuration: {policy.config}")
    for path in () if policy is None else policy.passed_over:
        progress.say(f"warning: {path} is not read, as it lies with what is scanned; name it with --config to use it")


def leave_with(finished: Report, quiet: bool, verbose: bool) -> None:
    """Print the summary and end with the verdict's exit code."""
    import sys

    if not quiet:
        from scanner.report.terminal import print_summary

        # Standard output is for data alone, a report by '--report -', so that a pipe means one thing always.
        print_summary(finished, sys.stderr, detail="full" if verbose else "brief")
    raise typer.Exit(finished.verdict.exit_code)
