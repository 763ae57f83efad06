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

import pydantic

from scanner.base.atomic import atomic_writer, check_destination, output_error
from scanner.base.errors import UsageError
from scanner.base.text import printable
from scanner.report.json_report import document

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

    def render(self, report: pydantic.BaseModel) -> bytes:
        """The report in this format."""
        function: Callable[[pydantic.BaseModel], bytes] = getattr(importlib.import_module(self.module), self.function)
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


def as_written(report: pydantic.BaseModel) -> pydantic.BaseModel:
    """The report as it comes back from its JSON: floats rounded."""
    return type(report).model_validate(document(report))


def format_named(name: str, formats: Sequence[Format] = FORMATS) -> Format:
    """The format with this name.

    Raises:
        UsageError: There is none.
    """
    for known in formats:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in formats)
    raise UsageError(f"there is no format {printable(name, 40)!r}", where="--to", hint=f"Formats are {names}")


def format_of(destination: str, formats: Sequence[Format] = FORMATS) -> Format:
    """The format that a file name asks for by its end; standard output gets JSON.

    Raises:
        UsageError: None does.
    """
    if destination == STDOUT:
        return formats[0]
    name = Path(destination).name.lower()
    fitting = [(len(suffix), known) for known in formats for suffix in known.suffixes if name.endswith(suffix)]
    if not fitting:
        suffixes = ", ".join(suffix for known in formats for suffix in known.suffixes)
        raise UsageError(
            "unknown report format",
            where=printable(destination),
            hint=f"Reports end in {suffixes}, or are '-' for JSON on standard output",
        )
    return max(fitting, key=lambda pair: pair[0])[1]


def check_reports(destinations: Sequence[str]) -> None:
    """Find out early, before anything is computed, that a report could not be written.

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


def write_reports(report: pydantic.BaseModel, destinations: Sequence[str], formats: Sequence[Format] = FORMATS) -> None:
    """Write the report in every format asked for, each file atomically, after all of them have been made.

    Args:
        report: The report.
        destinations: Files, or '-'.
        formats: Those of its kind of report.

    Raises:
        OutputError: A destination cannot be written.
    """
    contents = [format_of(destination, formats).render(report) for destination in destinations]
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
