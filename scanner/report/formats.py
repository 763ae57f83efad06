"""Every format of a report: which file name asks for which, and writing several of one report.

A format is a function from the report to bytes, in a module of its own, imported when it is asked for. All of them see
the report as it is written to JSON, so what is made in a scan and what `modelscan report` makes later are the same
bytes.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scanner.base.atomic import atomic_writer, check_destination, output_error
from scanner.base.errors import UsageError
from scanner.base.text import printable
from scanner.report.json_report import document
from scanner.report.schema import Report

STDOUT: Final = "-"


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: Its name, as `modelscan report --to` takes it.
        suffixes: Ends of file names that ask for it.
        module: Where its function is.
        function: The function, from a report to bytes.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    function: str

    def render(self, report: Report) -> bytes:
        """The report in this format."""
        function: Callable[[Report], bytes] = getattr(importlib.import_module(self.module), self.function)
        return function(as_written(report))


FORMATS: Final = (
    Format("json", (".json",), "scanner.report.json_report", "report_bytes"),
    Format("html", (".html", ".htm"), "scanner.report.html", "html_bytes"),
    Format("sarif", (".sarif", ".sarif.json"), "scanner.report.sarif", "sarif_bytes"),
    Format("junit", (".xml",), "scanner.report.junit", "junit_bytes"),
    Format("md", (".md",), "scanner.report.markdown", "markdown_bytes"),
    Format("intoto", (".intoto.json", ".intoto"), "scanner.report.intoto", "intoto_bytes"),
    Format("cyclonedx", (".cdx.json", ".bom.json"), "scanner.report.cyclonedx", "cyclonedx_bytes"),
)


def as_written(report: Report) -> Report:
    """The report as it comes back from its JSON: floats rounded."""
    return Report.model_validate(document(report))


def format_named(name: str) -> Format:
    """The format with this name.

    Raises:
        UsageError: There is none.
    """
    for known in FORMATS:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in FORMATS)
    raise UsageError(f"there is no format {printable(name, 40)!r}", where="--to", hint=f"Formats are {names}")


def format_of(destination: str) -> Format:
    """The format that a file name asks for by its end; standard output gets JSON.

    Raises:
        UsageError: None does.
    """
    if destination == STDOUT:
        return FORMATS[0]
    name = Path(destination).name.lower()
    fitting = [(len(suffix), known) for known in FORMATS for suffix in known.suffixes if name.endswith(suffix)]
    if not fitting:
        suffixes = ", ".join(suffix for known in FORMATS for suffix in known.suffixes)
        raise UsageError(
            "unknown report format",
            where=printable(destination),
            hint=f"Reports end in {suffixes}, or are '-' for JSON on standard output",
        )
    return max(fitting, key=lambda pair: pair[0])[1]


def check_reports(destinations: Sequence[str], format_of: Callable[[str], object] = format_of) -> None:
    """Find out early, before anything is computed, that a report could not be written.

    Args:
        destinations: Files, or '-'.
        format_of: Tells a destination's format; that of a scan's reports, or of other ones.

    Raises:
        UsageError: A format is unknown, or two reports have one name.
        OutputError: A file cannot be written.
    """
    seen: set[str] = set()
    for destination in destinations:
        format_of(destination)
        real = destination if destination == STDOUT else os.path.realpath(destination)
        if real in seen:
            raise UsageError("two reports have this name", where=printable(destination), hint="Give each its own")
        seen.add(real)
        if destination != STDOUT:
            check_destination(Path(destination))


def write_reports(report: Report, destinations: Sequence[str]) -> None:
    """Write the report in every format asked for, each file atomically, after all of them have been made.

    Raises:
        OutputError: A destination cannot be written.
    """
    contents = [format_of(destination).render(report) for destination in destinations]
    for destination, content in zip(destinations, contents, strict=True):
        write_bytes(content, destination)


def write_bytes(content: bytes, destination: str) -> None:
    """Write a finished report, atomically; ``-`` is standard output.

    Raises:
        OutputError: The destination cannot be written.
    """
    if destination == STDOUT:
        try:
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        except OSError as error:
            raise output_error(error, "standard output") from error
        return
    with atomic_writer(Path(destination)) as file:
        file.write(content)
