"""Manifests: ``.csv`` with a header or ``.jsonl``, with ``file_name`` and optionally ``label``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scanner.errors import SourceError
from scanner.inputs.files import read_file
from scanner.inputs.source import Item, UnreadableInput, natural_order

MAX_MANIFEST_BYTES = 512 * 1024 * 1024
MAX_NAME = 4096


@dataclass(frozen=True)
class ManifestSource:
    """Files named by a manifest, in its order, relative to its folder."""

    root: Path
    items: list[Item]
    class_names: tuple[str, ...] | None
    kind: str = "manifest"
    ignored: int = 0

    def read(self, item: Item) -> bytes:
        """Bytes of the file; see :meth:`scanner.inputs.source.Source.read`."""
        return read_file(self.root.parent, item.id)


def open_manifest(path: Path, *, labels: bool) -> ManifestSource:
    """Read a manifest.

    Raises:
        SourceError: If it is not valid, empty, names a file outside its folder, or labels only
            some of its rows.
    """
    try:
        text = read_file(path.parent, path.name, MAX_MANIFEST_BYTES).decode("utf-8-sig")
    except UnreadableInput as error:
        raise SourceError(f"cannot be read ({error.detail})", where=str(path)) from None
    except UnicodeDecodeError:
        raise SourceError("is not UTF-8 text", where=str(path)) from None
    read = _csv_rows if path.suffix.lower() == ".csv" else _jsonl_rows
    items: list[Item] = []
    for line, name, label in read(text, path):
        _check_name(name, path, line)
        items.append(Item(len(items), name, label if labels else None))
    if not items:
        raise SourceError("names no file", where=str(path))
    labelled = sum(item.label is not None for item in items)
    if labelled not in (0, len(items)):
        raise SourceError(f"labels {labelled} of {len(items)} rows", where=str(path), hint="Label every row or none")
    names = natural_order({item.label for item in items if item.label is not None}) if labelled else None
    return ManifestSource(path, items, names)


def _csv_rows(text: str, path: Path) -> Iterator[tuple[int, str, str | None]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if "file_name" not in (reader.fieldnames or ()):
            raise SourceError(
                "has no column 'file_name'",
                where=str(path),
                hint="The first line must be 'file_name' or 'file_name,label'",
            )
        for row in reader:
            label = row.get("label")
            yield reader.line_num, row["file_name"] or "", label if label else None
    except csv.Error as error:
        raise SourceError(f"line {reader.line_num} is not valid CSV ({error})", where=str(path)) from None


def _jsonl_rows(text: str, path: Path) -> Iterator[tuple[int, str, str | None]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise SourceError(f"line {number} is not valid JSON", where=str(path)) from None
        if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
            raise SourceError(f"line {number} has no text field 'file_name'", where=str(path))
        label = row.get("label")
        if isinstance(label, bool) or not isinstance(label, str | int | None):
            raise SourceError(f"line {number}: 'label' is neither text nor an integer", where=str(path))
        yield number, row["file_name"], None if label is None else str(label)


def _check_name(name: str, path: Path, line: int) -> None:
    pure = PurePosixPath(name)
    if not name or len(name) > MAX_NAME or "\0" in name:
        raise SourceError(f"line {line}: 'file_name' is empty or not a name", where=str(path))
    if pure.is_absolute() or ".." in pure.parts:
        raise SourceError(
            f"line {line}: {name!r} leaves the manifest's folder",
            where=str(path),
            hint="Use paths relative to the manifest",
        )
