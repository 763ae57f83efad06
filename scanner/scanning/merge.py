"""`merge`: from the chunks of a plan, whoever scored them, to the reports of the whole scan."""

from __future__ import annotations

from scanner.base.errors import InconclusiveError
from scanner.base.progress import Progress
from scanner.base.text import printable
from scanner.report.schema import Report
from scanner.scanning.finish import finish
from scanner.scanning.options import ScanOptions
from scanner.scanning.plans.carry_out import open_plan
from scanner.scanning.plans.document import Plan
from scanner.scanning.plans.shard import missing
from scanner.scanning.scan import asked_now

_NAMED = 10


def merge(plan: Plan, options: ScanOptions, progress: Progress, *, allow_partial: bool = False) -> Report:
    """Judge what was scored, and write the reports before anybody looks at the exit code.

    Args:
        plan: In the folder `options.plan`.
        options: What to do; inputs and profile may be elsewhere than when the plan was made.
        progress: Told what happens.
        allow_partial: Whether chunks may be missing. Their inputs count as not scanned, and no gate passes.

    Raises:
        InconclusiveError: A chunk is missing.
        LatentscanError: If there is no verdict.
    """
    asked = asked_now(options)
    opened, chunks = open_plan(plan, options, progress)
    absent = missing(range(len(chunks)), chunks.done())
    if absent and not allow_partial:
        named = ", ".join(map(str, absent[:_NAMED])) + (", ..." if len(absent) > _NAMED else "")
        raise InconclusiveError(
            f"{len(absent)} of {len(chunks)} chunks are missing: {named}",
            where=printable(str(options.plan)),
            hint="Run 'modelscan scan --plan' for them, or allow it with --allow-partial",
        )
    return finish(opened, chunks, asked, progress)
