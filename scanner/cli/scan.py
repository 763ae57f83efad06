"""``modelscan scan``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scanner.base.errors import UsageError
from scanner.cli import judging
from scanner.cli.lock import locked_scan
from scanner.scanning.options import ScanOptions

if TYPE_CHECKING:
    from scanner.report.schema import Report


def scan(
    inputs: Annotated[
        Path | None, typer.Argument(help="What to score: a folder, one image, a .csv/.jsonl manifest, .npz or .npy.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="Profile written by 'fit'. [default: modelscan.h5]")] = None,
    report: judging.Reports = None,
    rows: judging.Rows = None,
    alpha: Annotated[
        str | None, typer.Option(help="Share of clean inputs that is flagged on average. [default: 0.01]")
    ] = None,
    fail_on: judging.FailOnLevel = None,
    min_confidence: judging.MinConfidence = None,
    max_unreadable: judging.MaxUnreadable = None,
    allow_drift: judging.AllowDrift = None,
    clean: judging.Clean = None,
    audit: judging.Audit = None,
    baseline: judging.Baseline = None,
    ignore: judging.Ignore = None,
    top: judging.Top = None,
    gallery: judging.Gallery = None,
    model: Annotated[Path | None, typer.Option(help="Check that the profile was made for this very model.")] = None,
    device: judging.DeviceName = None,
    threads: judging.Threads = None,
    config: judging.Config = None,
    lockdown: judging.Lockdown = True,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow links and manifest paths that lead out of the inputs.")
    ] = False,
    resume: Annotated[
        Path | None, typer.Option(help="Folder that keeps what is done: after a kill, the same command goes on there.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="Folder of a plan: score a part of it for 'merge', and write no report.")
    ] = None,
    shard: Annotated[str | None, typer.Option(help="Which part: 2/3 is the second of three. [default: 1/1]")] = None,
    chunks: Annotated[
        str | None, typer.Option(help="Which part, by chunks: 0-9,12 (from 0); '-' asks for them on standard input.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Who does the part: local processes, or ray. [default: this process]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Workers of the engine. [default: one per core]")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Address of a Ray cluster; 'auto' for the one at hand.")] = None,
    quiet: judging.Quiet = False,
    verbose: judging.Verbose = False,
) -> None:
    """Score inputs, and say whether they and the model show a backdoor.

    The summary goes to standard error, reports go where --report says. Settings are taken from the flag, else
    LATENTSCAN_NAME in the environment, else the configuration file.
    """
    from scanner.verdict.gate_policy import foreign_folders, resolve

    judging.require_one_of_quiet_and_verbose(quiet, verbose)
    _require_whole_or_part(inputs, plan, {"--shard": shard, "--chunks": chunks, "--engine": engine})
    _require_engine(engine, {"--workers": workers, "--address": address})
    flags = {
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
    }
    if plan is not None:
        from scanner.cli.part import Part
        from scanner.cli.scan_part import scan_part

        others = {"--report": report, "--rows": rows, "--clean": clean, "--audit": audit, "--model": model}
        others["--resume"] = resume
        given = {f"--{name}": value for name, value in flags.items() if name not in ("profile", "device", "threads")}
        _refuse({**others, **given, "--follow-links": follow_links or None})
        policy = resolve(flags, config)
        options = ScanOptions(inputs or Path(), Path(profile or ""), plan=plan, **judging.judging(policy))
        part = Part(shard, chunks, engine, workers, address)
        return scan_part(options, part, lockdown=lockdown, quiet=quiet)
    assert inputs is not None
    foreign = foreign_folders(inputs, model, profile or os.environ.get("LATENTSCAN_PROFILE"))
    policy = resolve(flags, config, foreign=foreign)
    options = ScanOptions(
        inputs=inputs,
        profile=Path(str(policy.values["profile"])),
        reports=tuple(report or ()),
        rows=rows,
        model=model,
        clean=clean,
        audit=audit,
        plan=resume,
        follow_links=follow_links,
        **judging.judging(policy),
    )
    # Before the libraries, which start threads when they are imported.
    with locked_scan(options, wanted=lockdown) as isolation:
        finished = _scan(replace(options, isolation=isolation), quiet)
    return judging.leave_with(finished, quiet, verbose)


def _require_whole_or_part(inputs: Path | None, plan: Path | None, part: dict[str, str | None]) -> None:
    for name, value in part.items():
        if plan is None and value is not None:
            raise UsageError("is about a part of a plan", where=name, hint="Name the plan's folder with --plan")
    if plan is None and inputs is None:
        raise UsageError("are missing", where="inputs", hint="Name a folder of images, or a plan with --plan")
    if part["--shard"] is not None and part["--chunks"] is not None:
        raise UsageError("contradict each other", where="--shard and --chunks", hint="Give one of them")


def _require_engine(engine: str | None, of_engines: dict[str, object]) -> None:
    for name, value in of_engines.items():
        if engine is None and value is not None:
            raise UsageError("is of an engine", where=name, hint="Name one with --engine")


def _refuse(options: dict[str, object]) -> None:
    for name, value in options.items():
        if value is not None and value != []:
            raise UsageError(
                "has no meaning with --plan", where=name, hint="Give it to 'plan' if that has it, else to 'merge'"
            )


def _scan(options: ScanOptions, quiet: bool) -> Report:
    import latentscan
    from scanner.cli.console import TerminalProgress

    with TerminalProgress(quiet) as progress:
        judging.say_settings(options.policy, progress)
        return latentscan.scan(options, progress)
