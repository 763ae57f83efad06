"""Read an audit's report back: from a file of unknown origin, whole and unaltered, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pydantic

from scanner.base.errors import UsageError
from scanner.base.files import read_bounded
from scanner.base.text import printable
from scanner.report.audit.schema import AUDIT_URN, AUDIT_VERSION, AuditReport
from scanner.report.json_report import report_digest

MAX_BYTES = 16 * 2**20


def read_audit(path: Path) -> AuditReport:
    """A JSON report that `audit` wrote.

    Raises:
        UsageError: It cannot be read, is no report of an audit, is of another version, or does not match its digest.
    """
    where = printable(str(path))
    content = read_bounded(path, MAX_BYTES)
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        raise UsageError("is not JSON", where=where, hint="Give a report that 'audit --report x.json' wrote") from None
    if not isinstance(values, dict) or values.get("$schema") != AUDIT_URN:
        raise UsageError("is not the report of an audit", where=where, hint="Give a report that 'audit' wrote")
    if values.get("schema_version") != AUDIT_VERSION:
        raise UsageError("is of a version that this program does not read", where=where, hint="Audit the model again")
    try:
        intact = report_digest(values) == values.get("report_digest")
        report = AuditReport.model_validate(values)
    except (pydantic.ValidationError, TypeError, ValueError, RecursionError):
        raise UsageError("is not a valid report", where=where, hint="Audit the model again") from None
    if not intact:
        raise UsageError("does not match its own digest: it was altered or damaged", where=where, hint="Audit again")
    return report
