"""Every format of an audit's report: which file name asks for which, and writing several of one report."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from scanner.base.errors import UsageError
from scanner.base.text import printable
from scanner.report.audit.schema import AuditReport
from scanner.report.formats import STDOUT, check_reports, write_bytes
from scanner.report.json_report import document

_FORMATS: Final = {
    ".json": ("scanner.report.json_report", "report_bytes"),
    ".html": ("scanner.report.audit.html", "html_bytes"),
    ".htm": ("scanner.report.audit.html", "html_bytes"),
    ".sarif": ("scanner.report.audit.sarif", "sarif_bytes"),
    ".sarif.json": ("scanner.report.audit.sarif", "sarif_bytes"),
    ".xml": ("scanner.report.audit.junit", "junit_bytes"),
    ".md": ("scanner.report.audit.markdown", "markdown_bytes"),
}
_OF_SCANS: Final = (".intoto.json", ".intoto", ".cdx.json", ".bom.json")


def check_audit_reports(destinations: Sequence[str]) -> None:
    """Find out early, before the audit, that a report could not be written.

    Raises:
        UsageError: A format is unknown, or two reports have one name.
        OutputError: A file cannot be written.
    """
    check_reports(destinations, _writer)


def write_audit_reports(report: AuditReport, destinations: Sequence[str]) -> None:
    """Write the report in every format asked for, each file atomically, after all of them have been made.

    Raises:
        OutputError: A destination cannot be written.
    """
    written = AuditReport.model_validate(document(report))
    contents = [_writer(destination)(written) for destination in destinations]
    for destination, content in zip(destinations, contents, strict=True):
        write_bytes(content, destination)


def _writer(destination: str) -> Callable[[AuditReport], bytes]:
    """The format that a file name asks for by its end; standard output gets JSON."""
    name = ".json" if destination == STDOUT else Path(destination).name.lower()
    fitting = [suffix for suffix in (*_FORMATS, *_OF_SCANS) if name.endswith(suffix)]
    suffix = max(fitting, key=len, default=None)
    if suffix not in _FORMATS:
        raise UsageError(
            "unknown report format of an audit" if suffix is None else "is a format of scans alone",
            where=printable(destination),
            hint=f"Reports of audits end in {', '.join(_FORMATS)}, or are '-' for JSON on standard output",
        )
    module, function = _FORMATS[suffix]

    def render(report: AuditReport) -> bytes:
        made: bytes = getattr(importlib.import_module(module), function)(report)
        return made

    return render
