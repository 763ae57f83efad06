"""From the scores of all inputs to the reports: what comes after the network, whoever ran it.

chunks -> p-values -> rows, counts -> batch tests, places -> trigger, patterns of an audit -> verdict -> reports
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from scanner.base.progress import Progress
from scanner.report.formats import write_reports
from scanner.report.schema import Report
from scanner.scanning.chunks.folder import Chunks
from scanner.scanning.conclude import conclude
from scanner.scanning.count_inputs import count_inputs
from scanner.scanning.demonstrate import show_trigger
from scanner.scanning.gallery import MAX_ITEMS, show_inputs
from scanner.scanning.locate import locate
from scanner.scanning.loudest_place import loudest_places, plan_search
from scanner.scanning.make_report import make_report
from scanner.scanning.options import ScanOptions
from scanner.scanning.second_look import look_again
from scanner.scanning.stages import OpenedScan, Started, Told
from scanner.scanning.try_patterns import try_patterns


@dataclass(frozen=True)
class Asked:
    """What a scan was asked to do, and when.

    Attributes:
        options: As given.
        told: What people said of earlier findings.
        started: When it began.
    """

    options: ScanOptions
    told: Told
    started: Started


def finish(opened: OpenedScan, chunks: Chunks, asked: Asked, progress: Progress) -> Report:
    """Judge what was scored, and write the reports before anybody looks at the exit code.

    Raises:
        LatentscanError: If there is no verdict.
    """
    options = asked.options
    counted = locate(opened, count_inputs(opened, chunks, options, progress))
    counted = show_trigger(opened, counted, options, progress)
    counted = replace(counted, tried=try_patterns(opened, counted, options, progress))
    concluded = conclude(opened, counted, asked.told, options)
    top = counted.counts.top[: min(options.gallery, MAX_ITEMS)]
    search = plan_search(opened, counted, top)
    seen = look_again(opened, [*top, *search.quiet], search.taps)
    shown = show_inputs(opened.profile, top, seen, loudest_places(search, seen))
    report = make_report(opened, counted, concluded, shown, options, asked.started)
    write_reports(report, options.reports)
    return report
