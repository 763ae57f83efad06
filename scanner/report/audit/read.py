"""Read an audit's report back: from a file of unknown origin, whole and unaltered, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic

from scanner.base.errors import UsageError
from scanner.base.text import printable
from scanner.report.audit.schema import AUDIT_URN, AUDIT_VERSION, AuditReport
from scanner.report.json_report import report_digest
from scanner.report.read import checked_report
from scanner.report.read_json import read_json
from scanner.report.schema import Report

MAX_BYTES = 16 * 2**20


def read_audit(path: Path) -> AuditReport:
    """A JSON report that `audit` wrote.

    Raises:
        UsageError: It cannot be read, is no report of an audit, is of another version, or does not match its digest.
    """
    return _checked_audit(read_json(path, MAX_BYTES)[0], printable(str(path)))


def read_either(path: Path) -> Report | AuditReport:
    """A JSON report that `scan` or `audit` wrote.

    Raises:
        UsageError: As of `read_report` and `read_audit`.
    """
    values, where = read_json(path)[0], printable(str(path))
    return _checked_audit(values, where) if values.get("$schema") == AUDIT_URN else checked_report(values, where)


def _checked_audit(values: dict[str, Any], where: str) -> AuditReport:
    if values.get("$schema") != AUDIT_URN:
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
    if any(not picture.is_intact() or picture.sha256 != key for key, picture in report.pictures.items()):
        raise UsageError("holds pictures that are not what they claim", where=where, hint="Audit again")
    return report
