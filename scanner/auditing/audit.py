"""`audit`: from a suspect model and clean images to what plain patterns do to it.

model -> clean images -> patterns on one half, counted on the other -> among clean networks -> refined, where asked for
-> verdict -> reports
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic

from scanner.auditing.compare import compare
from scanner.auditing.make_report import Outcome, make_report
from scanner.auditing.open_audit import open_audit
from scanner.auditing.options import AuditOptions
from scanner.auditing.probe_model import probe_model
from scanner.auditing.refine_model import refine_model, require_torch
from scanner.base.progress import Progress
from scanner.report.audit.formats import AUDIT_FORMATS
from scanner.report.audit.schema import AuditReport
from scanner.report.formats import check_reports, write_reports
from scanner.report.run import Timing
from scanner.report.triage import read_ignore_file


def audit(options: AuditOptions, progress: Progress) -> AuditReport:
    """Audit a model and write the reports.

    Raises:
        LatentscanError: For everything the user can do something about.
    """
    started, clock = datetime.now(UTC), monotonic()
    check_reports(options.reports)
    require_torch(options)
    ignore = None if options.ignore is None else read_ignore_file(options.ignore)
    opened = open_audit(options, progress)
    probed = probe_model(opened, options, progress)
    compared = compare(opened, probed, options)
    timing = Timing(started, monotonic() - clock, None)
    report = make_report(
        opened, Outcome(probed, compared, refine_model(opened, probed, options, progress), ignore), options, timing
    )
    write_reports(report, options.reports, AUDIT_FORMATS)
    return report
