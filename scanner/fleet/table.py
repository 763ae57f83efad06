"""The table of models: a CSV file with a row for each, read whole and checked before anything runs."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scanner.base.errors import UsageError
from scanner.base.files import read_bounded
from scanner.base.text import printable
from scanner.inputs.urls import url_of

PLACES: Final = ("model", "reference", "inputs")
FIT_OPTIONS: Final = ("arch", "key", "output_name", "preprocess", "input_size", "num_classes", "labels")
SCAN_OPTIONS: Final = ("alpha",)
COLUMNS: Final = ("name", *PLACES, *FIT_OPTIONS, *SCAN_OPTIONS)
MOST_ROWS: Final = 100_000
_MAX_BYTES: Final = 64 * 2**20
_LONGEST_NAME: Final = 200
_LONGEST: Final = 4096
_LABELS: Final = {"yes": "--labels", "no": "--no-labels"}


@dataclass(frozen=True)
class FleetRow:
    """One model, and what to look at it with.

    Attributes:
        line: Line of the table, from 2.
        name: What it is called; no two rows have one name.
        model: Its file or folder, absolute.
        reference: Clean images, absolute or a URL.
        inputs: What to scan, likewise.
        options: Further columns that are not empty, by name.
    """

    line: int
    name: str
    model: str
    reference: str
    inputs: str
    options: Mapping[str, str]

    def flags(self, names: tuple[str, ...]) -> list[str]:
        """Flags of the command line for those options. A value cannot become a flag of its own."""
        given = [(name, self.options[name]) for name in names if name in self.options]
        return [_LABELS[text] if name == "labels" else f"--{name.replace('_', '-')}={text}" for name, text in given]


@dataclass(frozen=True)
class FleetTable:
    """All rows.

    Attributes:
        path: The file.
        sha256: Its SHA-256.
        rows: In its order.
    """

    path: Path
    sha256: str
    rows: tuple[FleetRow, ...]


def read_table(path: Path) -> FleetTable:
    """Read a table. Relative paths in it are relative to its folder.

    Raises:
        UsageError: It cannot be read, lacks a column, has one that is not known, or a row is not whole.
    """
    content = read_bounded(path, _MAX_BYTES)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("is not UTF-8", where=printable(str(path)), hint="Save it as CSV in UTF-8") from None
    rows = tuple(_rows(text, path))
    if not rows:
        raise UsageError("has no rows", where=printable(str(path)), hint=f"Write a line for each model: {_header()}")
    named: dict[str, int] = {}
    for row in rows:
        if named.setdefault(row.name, row.line) != row.line:
            what = f"has the name {printable(row.name, 60)!r} of line {named[row.name]}"
            raise _wrong(path, row.line, what, "Give each row a name of its own, in a column 'name'")
    return FleetTable(path, hashlib.sha256(content).hexdigest(), rows)


def _rows(text: str, path: Path) -> Iterator[FleetRow]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    folder = path.absolute().parent
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header, path)
        for count, cells in enumerate(filter(None, reader), start=1):
            if count > MOST_ROWS:
                raise _wrong(path, reader.line_num, f"is beyond {MOST_ROWS} rows", "Cut the table into several")
            if len(cells) != len(header):
                raise _wrong(path, reader.line_num, f"has {len(cells)} cells, the header {len(header)}", "Correct it")
            given = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
            yield _row(given, reader.line_num, path, folder)
    except csv.Error as error:
        raise _wrong(path, reader.line_num, f"is not valid CSV ({error})", "Correct it") from None


def _check_header(header: list[str], path: Path) -> None:
    missing = [name for name in PLACES if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    twice = [name for name in COLUMNS if header.count(name) > 1]
    where = printable(str(path))
    if missing:
        raise UsageError(f"has no column {missing[0]!r}", where=where, hint=f"Begin it with a line such as {_header()}")
    if unknown or twice:
        what = f"has a column {printable(unknown[0], 60)!r}" if unknown else f"has two columns {twice[0]!r}"
        raise UsageError(what, where=where, hint=f"Columns are {', '.join(COLUMNS)}, each once")


def _row(given: dict[str, str], line: int, path: Path, folder: Path) -> FleetRow:
    for name in PLACES:
        if name not in given:
            raise _wrong(path, line, f"has no {name}", "Fill the cell in, or remove the row")
    for name, text in given.items():
        if "\0" in text or len(text) > _LONGEST:
            raise _wrong(path, line, f"has a {name} of {len(text)} characters, or with a NUL", "Correct it")
    labels = given.get("labels", "yes")
    if labels not in _LABELS:
        raise _wrong(path, line, f"has {printable(labels, 60)!r} for labels", "Write yes or no, or nothing")
    name = given.get("name", given["model"])
    if len(name) > _LONGEST_NAME:
        raise _wrong(path, line, f"has a name of {len(name)} characters", f"Give it one of at most {_LONGEST_NAME}")
    options = {name: text for name, text in given.items() if name not in ("name", *PLACES)}
    if "preprocess" in options and (folder / options["preprocess"]).is_file():
        options["preprocess"] = str(folder / options["preprocess"])
    model, reference, inputs = (_place(given[one], folder) for one in PLACES)
    return FleetRow(line, name, model, reference, inputs, options)


def _place(text: str, folder: Path) -> str:
    """An absolute path, or a URL as it is."""
    return url_of(Path(text)) or os.path.normpath(folder / text)


def _header() -> str:
    return "name,model,reference,inputs"


def _wrong(path: Path, line: int, what: str, hint: str) -> UsageError:
    return UsageError(f"line {line} {what}", where=printable(str(path)), hint=hint)
