"""`audit`: from a suspect model and clean images to what plain patterns do to it.

model -> clean images -> patterns on one half, counted on the other -> among clean networks -> verdict -> reports
"""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic

from scanner.auditing.compare import compare
from scanner.auditing.make_report import make_report
from scanner.auditing.open_audit import open_audit
from scanner.auditing.options import AuditOptions
from scanner.auditing.probe_model import probe_model
from scanner.base.progress import Progress
from scanner.report.audit.formats import check_audit_reports, write_audit_reports
from scanner.report.audit.schema import AuditReport
from scanner.report.run import Timing


def audit(options: AuditOptions, progress: Progress) -> AuditReport:
    """Audit a model and write the reports.

    Raises:
        LatentscanError: For everything the user can do something about.
    """
    started, clock = datetime.now(UTC), monotonic()
    check_audit_reports(options.reports)
    opened = open_audit(options, progress)
    probed = probe_model(opened, options, progress)
    compared = compare(opened, probed, options)
    report = make_report(opened, probed, compared, options, Timing(started, monotonic() - clock, None))
    write_audit_reports(report, options.reports)
    return report
