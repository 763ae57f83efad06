"""A scan in parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from latentscan._checks import checked_scan
from scanner.base.errors import UsageError
from scanner.base.progress import SILENCE, Progress
from scanner.report.schema import Report
from scanner.scanning.options import ScanOptions
from scanner.scanning.plans.document import Plan
from scanner.scanning.plans.shard import ScannedPart


def plan(options: ScanOptions, progress: Progress = SILENCE, chunk_size: int = 1024) -> Plan:
    """Write down what a scan is going to do, in the folder ``options.plan``.

    Args:
        options: What to do. Of the settings of judging only ``alpha`` is written down.
        progress: Told what happens; nobody by default.
        chunk_size: Inputs of a chunk, about: what a killed worker loses at most.

    Returns:
        The plan. One that is there and is the same is left as it is.

    Raises:
        LatentscanError: If none can be made, or the folder holds another.

    Example:
        >>> made = latentscan.plan(latentscan.ScanOptions(Path("inputs"), Path("modelscan.h5"), plan=Path("job")))
        >>> made.inputs.count, made.chunks
        (60, 1)
    """
    options = _with_plan(options)
    from scanner.scanning.plans.make import make_plan

    return make_plan(options, progress, chunk_size)


def read_plan(folder: Path) -> Plan:
    """The plan in a folder.

    Raises:
        LatentscanError: There is none, or this installation would carry it out differently.

    Example:
        >>> latentscan.read_plan(Path("job")).alpha
        0.01
    """
    from scanner.scanning.plans.document import read_plan as read

    return read(Path(folder))


def scan_shard(plan: Plan, options: ScanOptions, wanted: Sequence[int], progress: Progress = SILENCE) -> ScannedPart:
    """Score chunks of a plan; those that are there already are passed over.

    Args:
        plan: In the folder ``options.plan``.
        options: Where inputs and profile are, and what to run on.
        wanted: Numbers of chunks, from 0.
        progress: Told what happens; nobody by default.

    Returns:
        What became of them.

    Raises:
        LatentscanError: If a chunk cannot be scored.

    Example:
        >>> job = latentscan.read_plan(Path("job"))
        >>> options = latentscan.ScanOptions(Path("inputs"), Path("modelscan.h5"), plan=Path("job"))
        >>> latentscan.scan_shard(job, options, range(job.chunks))
        ScannedPart(wanted=1, scored=1, left=0, total=1)
    """
    options = _with_plan(options)
    from scanner.scanning.scan_shard import scan_shard as run

    return run(plan, options, wanted, progress)


def merge(plan: Plan, options: ScanOptions, progress: Progress = SILENCE, allow_partial: bool = False) -> Report:
    """Put the chunks of a plan together: the report is that of one `scan`.

    Args:
        plan: In the folder ``options.plan``.
        options: What to do; ``alpha`` has to be the plan's.
        progress: Told what happens; nobody by default.
        allow_partial: Whether chunks may be missing. Their inputs count as not scanned, and no gate passes.

    Returns:
        The report. The files that `options` asks for are written before.

    Raises:
        LatentscanError: If there is no verdict.

    Example:
        >>> job = latentscan.read_plan(Path("job"))
        >>> options = latentscan.ScanOptions(Path("inputs"), Path("modelscan.h5"), plan=Path("job"))
        >>> latentscan.merge(job, options).report_digest == latentscan.scan(options).report_digest
        True
    """
    options = _with_plan(options)
    from scanner.scanning.merge import merge as run

    return run(plan, options, progress, allow_partial=allow_partial)


def _with_plan(options: ScanOptions) -> ScanOptions:
    if options.plan is None:
        raise UsageError("is missing", where="ScanOptions.plan", hint="Name the folder of the plan")
    return checked_scan(options)
