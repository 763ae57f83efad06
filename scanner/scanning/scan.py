"""`scan`: from inputs and a profile to per-input p-values, batch tests, a verdict and reports.

inputs -> scores (one graph) -> p-values -> rows, counts -> batch tests, places -> trigger -> verdict -> reports
"""

from __future__ import annotations

from scanner.base.progress import Progress
from scanner.report.formats import write_reports
from scanner.report.schema import Report
from scanner.scanning.conclude import conclude
from scanner.scanning.count_inputs import count_inputs
from scanner.scanning.demonstrate import show_trigger
from scanner.scanning.gallery import show_inputs
from scanner.scanning.locate import locate
from scanner.scanning.loudest_place import loudest_places
from scanner.scanning.make_report import make_report
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
    counted = show_trigger(opened, locate(opened, count_inputs(opened, options, progress)), options, progress)
    concluded = conclude(opened, counted, told, options)
    places = loudest_places(opened, counted, options.gallery)
    top = counted.counts.top[: options.gallery]
    shown = show_inputs(opened.profile, opened.scorer.features, opened.source, top, places)
    report = make_report(opened, counted, concluded, shown, options, started)
    write_reports(report, options.reports)
    return report
