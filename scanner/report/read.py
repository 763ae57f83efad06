"""Read a report back: from a file of unknown origin, whole and unaltered, or not at all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pydantic

from scanner.base.errors import UsageError
from scanner.base.text import printable
from scanner.report.json_report import document, report_digest
from scanner.report.read_json import read_json
from scanner.report.schema import REPORT_URN, REPORT_VERSION, Report


def read_report(path: Path) -> tuple[Report, str]:
    """A JSON report that this program wrote, and the SHA-256 of the file.

    Older minor versions are read too.

    Raises:
        UsageError: It cannot be read, is no report, is newer than this program, or does not match its own digest.
    """
    values, sha256 = read_json(path)
    return checked_report(values, printable(str(path))), sha256


def checked_report(values: dict[str, Any], where: str) -> Report:
    """A report from the values of a JSON file.

    Raises:
        UsageError: As of `read_report`.
    """
    if values.get("$schema") != REPORT_URN:
        raise UsageError("is not a latentscan report", where=where, hint="Give a report that 'scan' wrote")
    _check_version(values, where)
    try:
        intact = report_digest(values) == values.get("report_digest")
    except (TypeError, ValueError, RecursionError):
        intact = False
    if not intact:
        raise UsageError("does not match its own digest: it was altered or damaged", where=where, hint="Scan again")
    try:
        report = Report.model_validate(values | {"schema_version": REPORT_VERSION})
        if values["schema_version"] != REPORT_VERSION:  # read as one of this version, with the digest of that
            report = report.model_copy(update={"report_digest": report_digest(document(report))})
    except (pydantic.ValidationError, RecursionError) as error:
        count = error.error_count() if isinstance(error, pydantic.ValidationError) else 1
        raise UsageError(f"is not a valid report ({count} errors)", where=where, hint="Scan again") from None
    if any(not picture.is_intact() or picture.sha256 != key for key, picture in report.pictures.items()):
        raise UsageError("holds pictures that are not what they claim", where=where, hint="Scan again")
    return report


def _check_version(values: dict[str, Any], where: str) -> None:
    match = re.fullmatch(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", str(values.get("schema_version")), re.ASCII)
    ours = tuple(map(int, REPORT_VERSION.split(".")))
    if match is None or int(match[1]) != ours[0]:
        raise UsageError("states no version of the report that this program reads", where=where, hint="Scan again")
    if (int(match[1]), int(match[2])) > ours[:2]:
        raise UsageError(
            f"has report version {match[0]}, this program reads {REPORT_VERSION}",
            where=where,
            hint="Upgrade latentscan",
        )
