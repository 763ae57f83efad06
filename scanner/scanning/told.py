"""What people said about earlier findings."""

from __future__ import annotations

import os
from datetime import datetime

from scanner.report.read import read_report
from scanner.report.run import source_date_epoch
from scanner.report.triage import read_ignore_file
from scanner.scanning.options import ScanOptions
from scanner.scanning.stages import Told


def read_told(options: ScanOptions, started: datetime) -> Told:
    """Read the ignore file and the baseline.

    Raises:
        UsageError: One of them cannot be used.
    """
    ignore = None if options.ignore is None else read_ignore_file(options.ignore)
    today = (source_date_epoch(os.environ) or started).date()
    if options.baseline is None:
        return Told(ignore, frozenset(), None, today)
    baseline, sha256 = read_report(options.baseline)
    return Told(ignore, frozenset(finding.id for finding in baseline.findings), sha256, today)
