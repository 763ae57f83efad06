"""``modelscan plan``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scanner.cli import judging
from scanner.cli.lock import locked_scan
from scanner.scanning.options import ScanOptions


def plan(
    inputs: Annotated[
        Path, typer.Argument(help="What to score: a folder, one image, a .csv/.jsonl manifest, .npz or .npy.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the plan, and for what is done of it.")],
    profile: Annotated[str | None, typer.Option(help="Profile written by 'fit'. [default: modelscan.h5]")] = None,
    alpha: Annotated[
        str | None, typer.Option(help="Share of clean inputs that is flagged on average. [default: 0.01]")
    ] = None,
    chunk_size: Annotated[
        int, typer.Option(min=1, max=2**20, help="Inputs of a chunk, about: what a killed worker loses at most.")
    ] = 1024,
    model: Annotated[Path | None, typer.Option(help="Check that the profile was made for this very model.")] = None,
    config: judging.Config = None,
    lockdown: judging.Lockdown = True,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Follow links and manifest paths that lead out of the inputs.")
    ] = False,
    quiet: judging.Quiet = False,
) -> None:
    """Write down what a scan is going to do, for 'scan --plan' to do in parts and 'merge' to put together."""
    from scanner.verdict.gate_policy import foreign_folders, resolve

    foreign = foreign_folders(inputs, model, profile or os.environ.get("LATENTSCAN_PROFILE"))
    policy = resolve({"profile": profile, "alpha": alpha}, config, foreign=foreign)
    options = ScanOptions(
        inputs=inputs,
        profile=Path(str(policy.values["profile"])),
        model=model,
        plan=output,
        follow_links=follow_links,
        **judging.judging(policy),
    )
    with locked_scan(options, wanted=lockdown) as isolation:
        _plan(replace(options, isolation=isolation), chunk_size, quiet)


def _plan(options: ScanOptions, chunk_size: int, quiet: bool) -> None:
    import latentscan
    from scanner.cli.console import TerminalProgress

    with TerminalProgress(quiet) as progress:
        judging.say_settings(options.policy, progress)
        made = latentscan.plan(options, progress, chunk_size=chunk_size)
        progress.say(f"plan: {made.inputs.count} inputs in {made.chunks} chunks of {made.chunk_size}")
