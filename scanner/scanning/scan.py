"""`scan`: from inputs and a profile to per-input p-values, batch tests, a verdict and reports.

inputs -> scores (one graph), in chunks -> `finish`
"""

from __future__ import annotations

from scanner.base.progress import Progress
from scanner.report.schema import Report
from scanner.scanning.chunks.score import score_chunks
from scanner.scanning.chunks.temporary import temporary_chunks
from scanner.scanning.finish import Asked, finish
from scanner.scanning.open_scan import check_destinations, open_scan
from scanner.scanning.options import ScanOptions
from scanner.scanning.stages import Started
from scanner.scanning.told import read_told


def scan(options: ScanOptions, progress: Progress) -> Report:
    """Scan, and write the reports before anybody looks at the exit code.

    Raises:
        LatentscanError: If there is no verdict.
    """
    started = Started.now()
    check_destinations(options)
    told = read_told(options, started.at)
    opened = open_scan(options, progress)
    with temporary_chunks(opened) as chunks:
        score_chunks(
            opened, chunks, range(len(chunks)), options.threads, progress.task("scan", len(opened.source.items))
        )
        return finish(opened, chunks, Asked(options, told, started), progress)
