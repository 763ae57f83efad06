"""`scan --plan`: a part of a planned scan. What it gives are chunks; `merge` makes reports of them."""

from __future__ import annotations

from collections.abc import Sequence

from scanner.base.progress import Progress
from scanner.scanning.chunks.score import score_chunks
from scanner.scanning.options import ScanOptions
from scanner.scanning.plans.carry_out import open_plan
from scanner.scanning.plans.document import Plan
from scanner.scanning.plans.shard import ScannedPart, missing


def scan_shard(plan: Plan, options: ScanOptions, wanted: Sequence[int], progress: Progress) -> ScannedPart:
    """Score some chunks, those that are not there yet.

    Args:
        plan: In the folder `options.plan`.
        options: Where inputs and profile are, and what to run on.
        wanted: Their numbers, from 0.
        progress: Told what happens.

    Raises:
        LatentscanError: If a chunk cannot be scored.
    """
    opened, chunks = open_plan(plan, options, progress)
    todo = missing(wanted, chunks.done())
    score_chunks(opened, chunks, todo, options.threads, progress)
    left = len(missing(range(len(chunks)), chunks.done()))
    return ScannedPart(len(wanted), len(todo), left, len(chunks))
