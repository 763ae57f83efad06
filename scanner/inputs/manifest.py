"""Manifests: ``.csv`` or ``.tsv`` with a header line, or ``.jsonl``; a column of names, and optionally one of labels.

Columns may be called what people call them (:mod:`scanner.inputs.columns`); others are allowed and not read, so that a
``metadata.csv`` of the Hugging Face hub works. What is taken for labels, or could have been, is said.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from scanner.base.errors import SourceError
from scanner.inputs.columns import Columns, choose_columns, delimiter_of
from scanner.inputs.files import FolderReader, open_regular
from scanner.inputs.items import MAX_LABEL, EncodedLabels, Item, NamedItems, UnreadableInput
from scanner.inputs.layout import describe_labels
from scanner.inputs.sorted_names import sort_records

MAX_MANIFEST_BYTES: Final = 2**30
_MAX_LINE: Final = 2**20
_MAX_NAME: Final = 4096
_DIGITS: Final = 10
"""Of a line's number as it is kept."""


@dataclass(frozen=True)
class ManifestSource:
    """Files named by a manifest, relative to its folder, in bytewise order of their paths."""

    root: Path
    items: NamedItems
    class_names: tuple[str, ...] | None
    reader: FolderReader
    layout: str
    kind: str = "manifest"
    ignored: int = 0

    def read(self, item: Item) -> bytes:
        """Bytes of the file; see :meth:`scanner.inputs.items.Source.read`."""
        return self.reader.read(self.items.paths[item.index])


def open_manifest(path: Path, *, labels: bool, follow_links: bool = False) -> ManifestSource:
    """Read a manifest. The files it names are not looked at yet.

    Args:
        path: The manifest.
        labels: Whether labels are wanted.
        follow_links: Whether it may name files outside its folder, and links may lead there.

    Raises:
        SourceError: If it is not valid, names a file twice or outside its folder, or labels only some
            of its rows.
    """
    names, labelled = _Names(path, follow_links), _Labelled()
    try:
        descriptor = open_regular(path)
        encoding = _encoding(descriptor)
        with os.fdopen(descriptor, encoding=encoding, newline="") as text:
            if os.fstat(text.fileno()).st_size > MAX_MANIFEST_BYTES:
                raise SourceError(f"is larger than {MAX_MANIFEST_BYTES >> 20} MiB", where=str(path))
            table = _jsonl_table(text, path) if path.suffix.lower() == ".jsonl" else _csv_table(text, path)
            # A line's number first, so that rows of one name are in the file's order.
            paths, beside = sort_records(
                (names.clean(name, line), f"{line:0{_DIGITS}}{labelled.note(label, path, line) if labels else ''}")
                for line, name, label in table.rows
            )
    except UnreadableInput as error:
        raise SourceError(f"cannot be read ({error.detail})", where=str(path)) from None
    except UnicodeError:
        raise SourceError("is not UTF-8 or UTF-16 text", where=str(path), hint="Save it as UTF-8") from None
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror})", where=str(path)) from None
    _require_once(paths, beside, path)
    encoded = labelled.encoded(beside, path)
    layout = describe_labels("a manifest", encoded, used=labels)
    if labels:
        layout += table.columns.described
    if encoded is not None and not encoded.tell_apart:
        encoded = None
    reader = FolderReader(path.parent, follow_links=follow_links)
    return ManifestSource(path, NamedItems(paths, encoded), encoded.names if encoded else None, reader, layout)


def _require_once(paths: Sequence[str], beside: Sequence[str], path: Path) -> None:
    """Refuse a file that is named twice, by the first line that does so."""
    before, first, found = "", "", None
    for name, text in zip(paths, beside, strict=True):
        line = text[:_DIGITS]
        if name != before:
            before, first = name, line
        elif found is None or line < found[0]:
            found = line, first, name
    if found is not None:
        line, first, name = found
        raise _invalid(path, int(line), f"{name!r} was named on line {int(first)} already")


class _Labelled:
    """Labels of rows as they are read: how many have one, and which line is the first without."""

    def __init__(self) -> None:
        self._with, self._without, self._line = 0, 0, 0

    def note(self, label: object, path: Path, line: int) -> str:
        """The label as it is kept: empty where there is none."""
        clean = _clean_label(label, path, line)
        if clean is not None:
            self._with += 1
            return clean
        self._without, self._line = self._without + 1, self._line or line
        return ""

    def encoded(self, beside: Sequence[str], path: Path) -> EncodedLabels | None:
        """Of all rows, in their order, by what stands beside the names; None without any.

        Raises:
            SourceError: Only some rows have one.
        """
        if not self._with:
            return None
        if self._without:
            raise SourceError(
                f"labels {self._with} of {self._with + self._without} rows, not line {self._line}",
                where=str(path),
                hint="Label every row or none",
            )
        return EncodedLabels.of_each(lambda: (text[_DIGITS:] for text in beside), len(beside))


@dataclass(frozen=True)
class _Table:
    """Rows of line number, name and label; and which columns those are, known once the first row was read."""

    rows: Iterator[tuple[int, str, object]]
    columns: Columns


def _encoding(descriptor: int) -> str:
    """UTF-8, or UTF-16 where the file says so by its first bytes."""
    head = os.pread(descriptor, 4, 0)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not head.startswith(codecs.BOM_UTF32_LE):
        return "utf-16"
    return "utf-8-sig"


def _csv_table(text: TextIO, path: Path) -> _Table:
    lines = _bounded_lines(text, path)
    first = next(lines, "")
    reader = csv.reader(_with_first(first, lines), strict=True, delimiter=delimiter_of(first))
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise _invalid(path, reader.line_num, f"is not valid CSV ({error})") from None
    columns = choose_columns(header, path)
    name_column = header.index(columns.name)
    label_column = None if columns.label is None else header.index(columns.label)

    def rows() -> Iterator[tuple[int, str, object]]:
        try:
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise _invalid(path, reader.line_num, f"has {len(row)} fields, the header {len(header)}")
                yield reader.line_num, row[name_column], None if label_column is None else row[label_column] or None
        except csv.Error as error:
            raise _invalid(path, reader.line_num, f"is not valid CSV ({error})") from None

    return _Table(rows(), columns)


def _with_first(first: str, lines: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from lines


def _jsonl_table(text: TextIO, path: Path) -> _Table:
    lines = enumerate(_bounded_lines(text, path), start=1)
    parsed = ((number, _parsed(line, path, number)) for number, line in lines if line.strip())
    first = next(parsed, None)
    if first is None:
        return _Table(iter(()), Columns("file_name", None))
    columns = choose_columns([key for key in first[1] if isinstance(key, str)], path)

    def row(number: int, values: dict[str, object]) -> tuple[int, str, object]:
        name = values.get(columns.name)
        if not isinstance(name, str):
            raise _invalid(path, number, f"has no text {columns.name!r}")
        return number, name, None if columns.label is None else values.get(columns.label)

    def rows() -> Iterator[tuple[int, str, object]]:
        yield row(*first)
        for number, values in parsed:
            yield row(number, values)

    return _Table(rows(), columns)


def _parsed(line: str, path: Path, number: int) -> dict[str, object]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise _invalid(path, number, "is not valid JSON") from None
    if not isinstance(row, dict):
        raise _invalid(path, number, "has no text 'file_name'")
    return row


def _bounded_lines(text: TextIO, path: Path) -> Iterator[str]:
    number = 0
    while line := text.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            raise _invalid(path, number, f"is longer than {_MAX_LINE} characters")
        yield line


class _Names:
    """Names as a manifest writes them, as paths relative to its folder."""

    def __init__(self, path: Path, outside: bool) -> None:
        self._path = path
        self._outside = outside
        self._folders = tuple({os.path.abspath(path.parent) + "/", os.path.realpath(path.parent) + "/"})  # noqa: PTH100

    def clean(self, name: str, line: int) -> str:
        """The name without empty and ``.`` parts; without pathlib, which is slow and interns every part.

        Backslashes are those of Windows. An absolute path into the manifest's folder is one relative to it.

        Raises:
            SourceError: It is no name, or leaves the folder where it may not.
        """
        if len(name) > _MAX_NAME or "\0" in name or not _is_utf8(name):
            raise _invalid(self._path, line, f"{name[:60]!r} is not a file name")
        plain = name.strip().replace("\\", "/")
        for folder in self._folders:
            plain = plain.removeprefix(folder)
        parts = [part for part in plain.split("/") if part not in ("", ".")]
        absolute = plain.startswith("/") or plain[1:3] == ":/"
        if not parts:
            raise _invalid(self._path, line, f"{name[:60]!r} is not a file name")
        if absolute or ".." in parts:
            if not self._outside or plain[1:3] == ":/":
                raise SourceError(
                    f"line {line}: {name[:200]!r} leaves the manifest's folder",
                    where=str(self._path),
                    hint="Use paths relative to the manifest, or allow others with --follow-links",
                )
            return ("/" if absolute else "") + "/".join(parts)
        return "/".join(parts)


def _clean_label(label: object, path: Path, line: int) -> str | None:
    if label is None:
        return None
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise _invalid(path, line, "'label' is neither text nor an integer")
    text = str(label).strip()
    if not 0 < len(text) <= MAX_LABEL or "\0" in text or not _is_utf8(text):
        raise _invalid(path, line, f"'label' must have 1 to {MAX_LABEL} characters, and no NUL")
    return text


def _is_utf8(text: str) -> bool:
    """False for the lone surrogates that JSON escapes can spell."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(path: Path, line: int, what: str) -> SourceError:
    return SourceError(f"line {line}: {what}", where=str(path))
