"""`scan --plan`: a part of a planned scan. What it gives are chunks; `merge` makes reports of them."""

from __future__ import annotations

from collections.abc import Sequence

from scanner.base.errors import UsageError
from scanner.base.progress import Progress
from scanner.scanning.chunks.score import score_chunks
from scanner.scanning.options import ScanOptions
from scanner.scanning.plans.carry_out import open_plan
from scanner.scanning.plans.document import Plan
from scanner.scanning.plans.shard import ScannedPart, missing


class ShardScanner:
    """A plan, opened to score its chunks; several calls share what is loaded.

    Args:
        plan: In the folder `options.plan`.
        options: Where inputs and profile are, and what to run on.
        progress: Told what happens.

    Raises:
        LatentscanError: The plan cannot be carried out.
    """

    def __init__(self, plan: Plan, options: ScanOptions, progress: Progress) -> None:
        self._opened, self._chunks = open_plan(plan, options, progress)
        self._threads, self._progress = options.threads, progress

    def score(self, wanted: Sequence[int]) -> ScannedPart:
        """Score some chunks, those that are not there yet.

        Args:
            wanted: Their numbers, from 0.

        Raises:
            LatentscanError: If a chunk cannot be scored.
        """
        chunks = self._chunks
        if any(not 0 <= number < len(chunks) for number in wanted):
            raise UsageError(f"there are {len(chunks)} chunks, numbered from 0", where="a number of a chunk")
        todo = missing(wanted, chunks.done())
        if todo:
            score_chunks(self._opened, chunks, todo, self._threads, self._progress)
        left = len(missing(range(len(chunks)), chunks.done()))
        return ScannedPart(len(wanted), len(todo), left, len(chunks))


def scan_shard(plan: Plan, options: ScanOptions, wanted: Sequence[int], progress: Progress) -> ScannedPart:
    """Open a plan and score some of its chunks; see `ShardScanner`."""
    return ShardScanner(plan, options, progress).score(wanted)
