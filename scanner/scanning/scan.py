"""`scan`: from inputs and a profile to per-input p-values, batch tests, a verdict and reports.

inputs -> scores (one graph), in chunks -> `finish`
"""

from __future__ import annotations

from scanner.base.progress import Progress
from scanner.report.schema import Report
from scanner.scanning.chunks.score import score_chunks
from scanner.scanning.chunks.temporary import temporary_chunks
from scanner.scanning.finish import Asked, finish
from scanner.scanning.labels import open_labelled
from scanner.scanning.open_scan import check_destinations, open_profile, open_scan
from scanner.scanning.options import ScanOptions
from scanner.scanning.plans.carry_out import open_plan
from scanner.scanning.plans.make import make_plan
from scanner.scanning.plans.shard import missing
from scanner.scanning.stages import Started
from scanner.scanning.told import read_told


def scan(options: ScanOptions, progress: Progress) -> Report:
    """Scan, and write the reports before anybody looks at the exit code.

    With a folder for the plan, what was done of it before is not done again.

    Raises:
        LatentscanError: If there is no verdict.
    """
    asked = asked_now(options)
    if options.plan is not None:
        opened, chunks = open_plan(make_plan(options, progress), options, progress)
        wanted = missing(range(len(chunks)), chunks.done())
        score_chunks(opened, chunks, wanted, options.threads, progress)
        return finish(opened, chunks, asked, progress)
    read = open_profile(options)
    opened = open_scan(read, open_labelled(options, progress), options, progress)
    with temporary_chunks(opened) as chunks:
        score_chunks(opened, chunks, range(len(chunks)), options.threads, progress)
        return finish(opened, chunks, asked, progress)


def asked_now(options: ScanOptions) -> Asked:
    """What was asked, from this moment on, once it is known that its results can be written.

    Raises:
        UsageError: What is not known, or the ignore file or the baseline, cannot be used.
        OutputError: A file cannot be written where it is wanted.
    """
    started = Started.now()
    check_destinations(options)
    return Asked(options, read_told(options, started.at), started)
