"""``modelscan scan --plan``: a part of a plan."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scanner.base.errors import UsageError
from scanner.cli.lock import locked_scan
from scanner.cli.part import Part
from scanner.scanning.options import ScanOptions

if TYPE_CHECKING:
    from scanner.scanning.plans.document import Plan

ASKED: Final = "-"
"""In place of numbers of chunks: they come on standard input, a line each."""


def scan_part(options: ScanOptions, part: Part, *, lockdown: bool, quiet: bool) -> None:
    """Score a part of the plan in `options.plan`.

    Args:
        options: Inputs and profile are empty where they are those of the plan.
        part: Which.
        lockdown: Whether processes that read inputs give up what they do not need.
        quiet: Whether errors alone are printed.
    """
    from scanner.scanning.plans.document import read_plan

    assert options.plan is not None
    # It says what may be read. Not by the door, whose libraries start threads.
    plan = read_plan(options.plan)
    options = replace(
        options,
        inputs=_or_planned(options.inputs, plan.inputs.path),
        profile=_or_planned(options.profile, plan.profile.path),
        alpha=plan.alpha,
        follow_links=plan.inputs.follow_links,
    )
    if part.engine is not None:
        from scanner.cli.engines.run import run_engine

        return run_engine(plan, options, part, _wanted(part, plan), lockdown=lockdown, quiet=quiet)
    with locked_scan(options, wanted=lockdown) as isolation:
        options = replace(options, isolation=isolation)
        if part.chunks == ASKED:
            return _serve(plan, options)
        return _scan(plan, options, _wanted(part, plan), quiet)


def _wanted(part: Part, plan: Plan) -> Sequence[int]:
    from scanner.scanning.plans.shard import Shard, parse_chunks

    if part.chunks is not None:
        return parse_chunks(part.chunks, plan.chunks)
    return Shard.parse(part.shard or "1/1").chunks(plan.chunks)


def _scan(plan: Plan, options: ScanOptions, wanted: Sequence[int], quiet: bool) -> None:
    import latentscan
    from scanner.cli.console import TerminalProgress

    with TerminalProgress(quiet) as progress:
        done = latentscan.scan_shard(plan, options, wanted, progress)
        left = (
            f"{done.left} of {done.total} are still missing" if done.left else f"all {done.total} are there: merge them"
        )
        progress.say(f"chunks: {done.scored} scored, {done.wanted - done.scored} were there; {left}")


def _serve(plan: Plan, options: ScanOptions) -> None:
    """Score what is asked for on standard input, and say each chunk that is done on standard output."""
    from scanner.base.progress import SILENCE
    from scanner.cli.engines.process import READY
    from scanner.scanning.scan_shard import ShardScanner

    scanner = ShardScanner(plan, options, SILENCE)
    print(READY, flush=True)
    for line in sys.stdin:
        text = line.strip()
        if not text.isdecimal():
            raise UsageError("is no number of a chunk", where=repr(text[:40]))
        scanner.score([int(text)])
        print(text, flush=True)


def _or_planned(path: Path, planned: str) -> Path:
    return Path(planned) if path == Path() else path
