"""``modelscan merge``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scanner.cli import judging
from scanner.cli.lock import locked_scan
from scanner.scanning.options import ScanOptions

if TYPE_CHECKING:
    from scanner.report.schema import Report
    from scanner.scanning.plans.document import Plan
    from scanner.verdict.gate_policy import Policy


def merge(
    folder: Annotated[Path, typer.Argument(help="Folder of the plan, with the chunks.")],
    inputs: Annotated[Path | None, typer.Argument(help="Where the inputs are, if not where the plan says.")] = None,
    profile: Annotated[Path | None, typer.Option(help="Where the profile is, if not where the plan says.")] = None,
    report: judging.Reports = None,
    rows: judging.Rows = None,
    fail_on: judging.FailOnLevel = None,
    min_confidence: judging.MinConfidence = None,
    max_unreadable: judging.MaxUnreadable = None,
    allow_drift: judging.AllowDrift = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Go on without missing chunks; it never exits with 0 then.")
    ] = False,
    clean: judging.Clean = None,
    audit: judging.Audit = None,
    baseline: judging.Baseline = None,
    ignore: judging.Ignore = None,
    top: judging.Top = None,
    gallery: judging.Gallery = None,
    device: judging.DeviceName = None,
    threads: judging.Threads = None,
    config: judging.Config = None,
    lockdown: judging.Lockdown = True,
    quiet: judging.Quiet = False,
    verbose: judging.Verbose = False,
) -> None:
    """Put the parts of a planned scan together: the reports are those of one scan, to the byte."""
    from scanner.scanning.plans.document import read_plan
    from scanner.verdict.gate_policy import foreign_folders, resolve

    judging.require_one_of_quiet_and_verbose(quiet, verbose)
    # It says what may be read. Not by the door, whose libraries start threads.
    plan = read_plan(folder)
    scanned, used = inputs or Path(plan.inputs.path), profile or Path(plan.profile.path)
    flags = {
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
    policy = _planned(resolve(flags, config, foreign=foreign_folders(scanned, None, str(used))), plan)
    options = ScanOptions(
        inputs=scanned,
        profile=used,
        reports=tuple(report or ()),
        rows=rows,
        clean=clean,
        audit=audit,
        plan=folder,
        follow_links=plan.inputs.follow_links,
        **judging.judging(policy),
    )
    with locked_scan(options, wanted=lockdown) as isolation:
        finished = _merge(plan, replace(options, isolation=isolation), allow_partial, quiet)
    judging.leave_with(finished, quiet, verbose)


def _merge(plan: Plan, options: ScanOptions, allow_partial: bool, quiet: bool) -> Report:
    import latentscan
    from scanner.cli.console import TerminalProgress

    with TerminalProgress(quiet) as progress:
        judging.say_settings(options.policy, progress)
        return latentscan.merge(plan, options, progress, allow_partial=allow_partial)


def _planned(policy: Policy, plan: Plan) -> Policy:
    """The settings with the plan's alpha, which was chosen before anybody saw a score."""
    return replace(
        policy,
        values={**policy.values, "alpha": plan.alpha},
        origins={**policy.origins, "alpha": plan.alpha_from},
    )
