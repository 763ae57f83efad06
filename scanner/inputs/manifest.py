"""Manifests: ``.csv`` with a header line or ``.jsonl``, with ``file_name`` and optionally ``label``.

Other columns are allowed and not read, so that a ``metadata.csv`` of the Hugging Face hub works.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from scanner.base.errors import SourceError
from scanner.inputs.files import FolderReader, open_regular
from scanner.inputs.items import MAX_LABEL, EncodedLabels, Item, NamedItems, UnreadableInput
from scanner.inputs.layout import describe_labels

MAX_MANIFEST_BYTES: Final = 2**30
_MAX_LINE: Final = 2**20
_MAX_NAME: Final = 4096


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


def open_manifest(path: Path, *, labels: bool) -> ManifestSource:
    """Read a manifest. The files it names are not looked at yet.

    Raises:
        SourceError: If it is not valid, names a file twice or outside its folder, or labels only some
            of its rows.
    """
    rows: dict[str, tuple[int, str | None]] = {}
    read = _csv_rows if path.suffix.lower() == ".csv" else _jsonl_rows
    try:
        with os.fdopen(open_regular(path), encoding="utf-8-sig", newline="") as text:
            if os.fstat(text.fileno()).st_size > MAX_MANIFEST_BYTES:
                raise SourceError(f"is larger than {MAX_MANIFEST_BYTES >> 20} MiB", where=str(path))
            for line, name, label in read(text, path):
                clean = _clean_name(name, path, line)
                if clean in rows:
                    raise _invalid(path, line, f"{name!r} was named on line {rows[clean][0]} already")
                rows[clean] = line, _clean_label(label, path, line) if labels else None
    except UnreadableInput as error:
        raise SourceError(f"cannot be read ({error.detail})", where=str(path)) from None
    except UnicodeDecodeError:
        raise SourceError("is not UTF-8 text", where=str(path)) from None
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror})", where=str(path)) from None
    paths = sorted(rows, key=os.fsencode)
    encoded = _labels([rows[name] for name in paths], path)
    layout = describe_labels("a manifest", encoded, used=labels)
    if encoded is not None and not encoded.tell_apart:
        encoded = None
    return ManifestSource(
        path, NamedItems(paths, encoded), encoded.names if encoded else None, FolderReader(path.parent), layout
    )


def _labels(rows: list[tuple[int, str | None]], path: Path) -> EncodedLabels | None:
    found = [label for _, label in rows if label is not None]
    if not found:
        return None
    if len(found) < len(rows):
        line = min(line for line, label in rows if label is None)
        raise SourceError(
            f"labels {len(found)} of {len(rows)} rows, not line {line}",
            where=str(path),
            hint="Label every row or none",
        )
    return EncodedLabels.of(found)


def _csv_rows(text: TextIO, path: Path) -> Iterator[tuple[int, str, object]]:
    reader = csv.reader(_bounded_lines(text, path), strict=True)
    try:
        header = next(reader, [])
        if header.count("file_name") != 1 or header.count("label") > 1:
            raise SourceError(
                "has no single column 'file_name'" if header.count("file_name") != 1 else "has two columns 'label'",
                where=str(path),
                hint="The first line must be 'file_name' or 'file_name,label'",
            )
        name_column = header.index("file_name")
        label_column = header.index("label") if "label" in header else None
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise _invalid(path, reader.line_num, f"has {len(row)} fields, the header {len(header)}")
            yield reader.line_num, row[name_column], None if label_column is None else row[label_column] or None
    except csv.Error as error:
        raise _invalid(path, reader.line_num, f"is not valid CSV ({error})") from None


def _jsonl_rows(text: TextIO, path: Path) -> Iterator[tuple[int, str, object]]:
    for number, line in enumerate(_bounded_lines(text, path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise _invalid(path, number, "is not valid JSON") from None
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise _invalid(path, number, "has no text 'file_name'")
        yield number, row["file_name"], row.get("label")


def _bounded_lines(text: TextIO, path: Path) -> Iterator[str]:
    number = 0
    while line := text.readline(_MAX_LINE + 1):
        number += 1
        if len(line) > _MAX_LINE:
            raise _invalid(path, number, f"is longer than {_MAX_LINE} characters")
        yield line


def _clean_name(name: str, path: Path, line: int) -> str:
    """The name without empty and ``.`` parts; without pathlib, which is slow and interns every part."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise SourceError(
            f"line {line}: {name[:200]!r} leaves the manifest's folder",
            where=str(path),
            hint="Use paths relative to the manifest",
        )
    if not parts or len(name) > _MAX_NAME or "\0" in name or not _is_utf8(name):
        raise _invalid(path, line, f"{name[:60]!r} is not a file name")
    return "/".join(parts)


def _clean_label(label: object, path: Path, line: int) -> str | None:
    if label is None:
        return None
    if isinstance(label, bool) or not isinstance(label, str | int):
        raise _invalid(path, line, "'label' is neither text nor an integer")
    text = str(label)
    if not 0 < len(text) <= MAX_LABEL or not _is_utf8(text):
        raise _invalid(path, line, f"'label' must have 1 to {MAX_LABEL} characters")
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
