"""``modelscan scan --plan``: a part of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scanner.cli.lock import locked_scan
from scanner.scanning.options import ScanOptions

if TYPE_CHECKING:
    from scanner.scanning.plans.document import Plan


def scan_part(options: ScanOptions, which: tuple[str | None, str | None], *, lockdown: bool, quiet: bool) -> None:
    """Score a part of the plan in `options.plan`.

    Args:
        options: Inputs and profile are empty where they are those of the plan.
        which: Shard and chunks, as written.
        lockdown: Whether this process gives up what it does not need.
        quiet: Whether errors alone are printed.
    """
    from scanner.scanning.plans.document import read_plan
    from scanner.scanning.plans.shard import Shard, parse_chunks

    assert options.plan is not None
    # It says what may be read. Not by the door, whose libraries start threads.
    plan = read_plan(options.plan)
    shard, chunks = which
    wanted = Shard.parse(shard or "1/1").chunks(plan.chunks) if chunks is None else parse_chunks(chunks, plan.chunks)
    options = replace(
        options,
        inputs=_or_planned(options.inputs, plan.inputs.path),
        profile=_or_planned(options.profile, plan.profile.path),
        alpha=plan.alpha,
        follow_links=plan.inputs.follow_links,
    )
    with locked_scan(options, wanted=lockdown) as isolation:
        _scan(plan, replace(options, isolation=isolation), wanted, quiet)


def _scan(plan: Plan, options: ScanOptions, wanted: Sequence[int], quiet: bool) -> None:
    import latentscan
    from scanner.cli.console import TerminalProgress

    with TerminalProgress(quiet) as progress:
        done = latentscan.scan_shard(plan, options, wanted, progress)
        left = (
            f"{done.left} of {done.total} are still missing" if done.left else f"all {done.total} are there: merge them"
        )
        progress.say(f"chunks: {done.scored} scored, {done.wanted - done.scored} were there; {left}")


def _or_planned(path: Path, planned: str) -> Path:
    return Path(planned) if path == Path() else path
