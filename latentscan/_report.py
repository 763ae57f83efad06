"""A report in any of its formats."""

from __future__ import annotations

import os
from pathlib import Path

from scanner.report.audit.schema import AuditReport
from scanner.report.schema import Report


def report(
    source: Report | AuditReport | str | os.PathLike[str],
    to: str | None = None,
    output: str | os.PathLike[str] | None = None,
) -> bytes:
    """Render a report in another format, without scanning again.

    Args:
        source: A report of a scan or of an audit, or the JSON file of one.
        to: ``html``, ``sarif``, ``junit``, ``md``, ``intoto``, ``cyclonedx`` or ``json``; None to go by the suffix of
            `output`, and ``json`` without either.
        output: File to write as well, atomically; ``-`` is standard output. None to write nothing.

    Returns:
        The content of the file.

    Raises:
        UsageError: `source` is no report, or there is no such format.
        OutputError: `output` cannot be written.

    Example:
        >>> latentscan.report("out.json", "md").decode().splitlines()[0]
        '## ✅ Backdoor scan: none, accept'
    """
    from scanner.report.audit.formats import AUDIT_FORMATS
    from scanner.report.audit.read import read_either
    from scanner.report.formats import FORMATS, STDOUT, check_reports, format_named, format_of, write_bytes

    destination = None if output is None else os.fspath(output)
    # Both kinds of report have formats of the same names: what is none of them is said before anything is read.
    form = format_of(destination or STDOUT) if to is None else format_named(to)
    if to is None and destination is not None:
        check_reports([destination])
    report = source if isinstance(source, Report | AuditReport) else read_either(Path(source))
    formats = AUDIT_FORMATS if isinstance(report, AuditReport) else FORMATS
    content = format_named(form.name, formats).render(report)
    if destination is not None:
        write_bytes(content, destination)
    return content
