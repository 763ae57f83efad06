"""A report in any of its formats."""

from __future__ import annotations

import os
from pathlib import Path

from latentscan._files import read_report
from scanner.report.schema import Report


def report(
    source: Report | str | os.PathLike[str],
    to: str | None = None,
    output: str | os.PathLike[str] | None = None,
) -> bytes:
    """Render a report in another format, without scanning again.

    Args:
        source: A report, or the JSON file of one.
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
    from scanner.report.formats import STDOUT, check_reports, format_named, format_of, write_bytes

    destination = None if output is None else os.fspath(output)
    form = format_of(destination or STDOUT) if to is None else format_named(to)
    if to is None and destination is not None:
        check_reports([destination])
    content = form.render(source if isinstance(source, Report) else read_report(Path(source)))
    if destination is not None:
        write_bytes(content, destination)
    return content
