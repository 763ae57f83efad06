"""``modelscan scan``."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from scanner.base.device import Device
from scanner.base.errors import UsageError
from scanner.cli.lock import locked_scan
from scanner.scanning.options import ScanOptions
from scanner.verdict.terms import Confidence, FailOn

if TYPE_CHECKING:
    from scanner.report.schema import Report


def scan(
    inputs: Annotated[
        Path, typer.Argument(help="What to score: a folder, one image, a .csv/.jsonl manifest, .npz or .npy.")
    ],
    profile: Annotated[str | None, typer.Option(help="Profile written by 'fit'. [default: modelscan.h5]")] = None,
    report: Annotated[
        list[str] | None,
        typer.Option(
            help="Report file, repeatable; format by suffix: .json, .html, .sarif, .xml (JUnit), .md, .intoto.json, "
            ".cdx.json; '-' for JSON on standard output."
        ),
    ] = None,
    rows: Annotated[Path | None, typer.Option(help="Every input's row: .jsonl or .parquet.")] = None,
    alpha: Annotated[
        str | None, typer.Option(help="Share of clean inputs that is flagged on average. [default: 0.01]")
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(help="Severity that exits with 1: never, low, medium, high, critical. [default: high]"),
    ] = None,
    min_confidence: Annotated[
        str | None,
        typer.Option(help="Least confidence to pass with: provisional or calibrated. [default: provisional]"),
    ] = None,
    max_unreadable: Annotated[
        str | None, typer.Option(help="Share of unreadable inputs that makes it inconclusive. [default: 0.1]")
    ] = None,
    allow_drift: Annotated[
        str | None,
        typer.Option(help="Reason for scanning inputs that are unlike the reference; without one it is inconclusive."),
    ] = None,
    clean: Annotated[
        Path | None,
        typer.Option(help="Clean images to try a trigger on, instead of those that the profile keeps."),
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Earlier report (.json) whose findings are known.")] = None,
    ignore: Annotated[str | None, typer.Option(help="Ignore file (.toml): findings with a reason and an end.")] = None,
    top: Annotated[str | None, typer.Option(help="Most suspicious inputs in the report. [default: 50]")] = None,
    gallery: Annotated[
        str | None, typer.Option(help="How many of them are shown as pictures, at most 48. [default: 24]")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Check that the profile was made for this very model.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda. [default: auto]")] = None,
    threads: Annotated[str | None, typer.Option(help="Worker threads. [default: one per core]")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Configuration file instead of latentscan.toml or pyproject.toml.")
    ] = None,
    lockdown: Annotated[
        bool,
        typer.Option(help="Give up network, programs and all other files before anything of a stranger is read."),
    ] = True,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow links and manifest paths that lead out of the inputs.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print every check, every class and where settings come from.")
    ] = False,
) -> None:
    """Score inputs, and say whether they and the model show a backdoor.

    The summary goes to standard error, reports go where --report says. Settings are taken from the flag, else
    LATENTSCAN_NAME in the environment, else the configuration file.
    """
    from scanner.verdict.gate_policy import foreign_folders, resolve

    if quiet and verbose:
        raise UsageError("contradict each other", where="--quiet and --verbose", hint="Give one of them")
    policy = resolve(
        {
            "profile": profile,
            "alpha": alpha,
            "fail-on": fail_on,
            "min-confidence": min_confidence,
            "max-unreadable": max_unreadable,
            "allow-drift": allow_drift,
            "baseline": baseline,
            "ignore": ignore,
            "top": top,
            "gallery": gallery,
            "device": device,
            "threads": threads,
        },
        config,
        foreign=foreign_folders(inputs, model, profile or os.environ.get("LATENTSCAN_PROFILE")),
    )
    values = policy.values
    options = ScanOptions(
        inputs=inputs,
        profile=Path(str(values["profile"])),
        reports=tuple(report or ()),
        rows=rows,
        alpha=cast(float, values["alpha"]),
        fail_on=FailOn(str(values["fail-on"])),
        min_confidence=Confidence(str(values["min-confidence"])),
        max_unreadable=cast(float, values["max-unreadable"]),
        baseline=policy.path("baseline"),
        ignore=policy.path("ignore"),
        top=cast(int, values["top"]),
        gallery=cast(int, values["gallery"]),
        model=model,
        device=cast(Device, values["device"]),
        threads=cast(int | None, values["threads"]),
        clean=clean,
        allow_drift=cast(str | None, values["allow-drift"]),
        policy=policy,
        follow_links=follow_links,
    )
    # Before the libraries, which start threads when they are imported.
    with locked_scan(options, wanted=lockdown) as isolation:
        finished = _scan(replace(options, isolation=isolation), quiet)
    if not quiet:
        from scanner.report.terminal import print_summary

        detail: Literal["brief", "full"] = "full" if verbose else "brief"
        # Standard output is for data alone, a report by '--report -', so that a pipe means one thing always.
        print_summary(finished, sys.stderr, detail=detail)
    raise typer.Exit(finished.verdict.exit_code)


def _scan(options: ScanOptions, quiet: bool) -> Report:
    import latentscan
    from scanner.cli.console import TerminalProgress
    from scanner.cli.doctor import NAME_CLASH, name_clash

    policy = options.policy
    with TerminalProgress(quiet) as progress:
        if name_clash():
            progress.say(f"warning: {NAME_CLASH}")
        if policy is not None and policy.config is not None:
            progress.say(f"configuration: {policy.config}")
        for path in () if policy is None else policy.passed_over:
            progress.say(
                f"warning: {path} is not read, as it lies with what is scanned; name it with --config to use it"
            )
        return latentscan.scan(options, progress)
