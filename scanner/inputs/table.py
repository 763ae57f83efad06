"""Images in Parquet and Arrow files, as data sets of the Hugging Face hub have them; needs the ``parquet`` extra.

A column ``image`` holds ``{bytes, path}`` or plain bytes, ``label`` an integer; its names may be in the metadata.
Of Parquet, one group of rows at a time is in memory; an Arrow file is mapped.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from scanner.base.errors import SourceError
from scanner.inputs.columns import LABELS, NAMES
from scanner.inputs.expansion import MAX_RATIO, most_bytes
from scanner.inputs.files import MAX_FILE_BYTES
from scanner.inputs.items import MAX_LABEL, Content, EncodedLabels, Item, NumberedItems, UnreadableInput
from scanner.inputs.layout import describe_labels

_MAX_GROUP: Final = 2 * 2**30
_MAX_ROWS: Final = 2**31
_KEPT: Final = 3
_IMAGES: Final = ("image", "img", "images", "jpg", "png", *NAMES)


@dataclass(frozen=True)
class TableSource:
    """The images of a table, in its order."""

    root: Path
    items: NumberedItems
    class_names: tuple[str, ...] | None
    groups: _Groups
    layout: str
    kind: str = "table"
    ignored: int = 0
    copied: Content | None = None

    def read(self, item: Item) -> bytes:
        """Encoded bytes of a row's image; see :meth:`scanner.inputs.items.Source.read`."""
        return self.groups.image(item.index)


class _Groups:
    """Groups of rows, of which the last few are kept.

    Args:
        ends: ``(groups,)`` int64 number of rows up to and with each group.
        load: Gives the images of a group.
        size: Bytes of the file.
    """

    def __init__(self, ends: Sequence[int], load: Any, size: int) -> None:  # noqa: ANN401 - pyarrow has no types
        self._ends = np.asarray(ends, np.int64)
        self._load = load
        # Each row once, however often it is read: many rows can share the bytes of one image.
        self._counted = np.zeros(int(self._ends[-1]) if len(self._ends) else 0, bool)
        self._left = most_bytes(size)
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def image(self, index: int) -> bytes:
        group = int(np.searchsorted(self._ends, index, side="right"))
        start = int(self._ends[group - 1]) if group else 0
        with self._lock:  # the second thread waits for what the first one reads
            if group not in self._kept:
                self._kept[group] = self._read(group)
            self._kept.move_to_end(group)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            column = self._kept[group]
        return self._image(index, column, start)

    def _image(self, index: int, column: Any, start: int) -> bytes:  # noqa: ANN401 - pyarrow has no types
        value = column[index - start].as_py() if column is not None and index - start < len(column) else None
        if isinstance(value, dict):
            value = value.get("bytes")
        if not isinstance(value, bytes):
            raise UnreadableInput("missing", "the row holds no bytes of an image, or is damaged")
        if len(value) > MAX_FILE_BYTES:
            raise UnreadableInput("too-large", f"{len(value)} bytes, the limit is {MAX_FILE_BYTES}")
        if not value:
            raise UnreadableInput("empty", "the row holds no bytes")
        with self._lock:
            self._left -= 0 if self._counted[index] else len(value)
            self._counted[index] = True
            if self._left < 0:
                raise UnreadableInput("too-large", f"the images are together over {MAX_RATIO} times the file's size")
        return value

    def _read(self, group: int) -> Any:  # noqa: ANN401 - pyarrow has no types
        """The images of a group, or None where they cannot be read: that is so for each of them."""
        try:
            return self._load(group)
        except MemoryError:
            raise
        except Exception:  # pyarrow raises classes of its own and OSError
            return None


def open_table(path: Path, *, labels: bool) -> TableSource:
    """Open a Parquet or Arrow file.

    Raises:
        SourceError: pyarrow is not installed, the file is damaged, or has no column of images.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise SourceError(
            "is a Parquet or Arrow file, which needs pyarrow",
            where=str(path),
            hint="Install it with pip install 'latentscan[parquet]'",
        )
    try:
        return _open(path, labels)
    except (SourceError, MemoryError):
        raise
    except Exception as error:  # pyarrow raises classes of its own and OSError
        raise SourceError(f"is a damaged table ({type(error).__name__})", where=str(path)) from None


def _open(path: Path, labels: bool) -> TableSource:
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    schema, groups, column_of = _parquet(path) if is_parquet else _arrow(path)
    image = _column(schema.names, _IMAGES)
    if image is None:
        raise SourceError(
            f"has no column of images (it has {', '.join(map(repr, schema.names[:6]))})",
            where=str(path),
            hint="Call it 'image', with the bytes of a file in each row",
        )
    rows = groups(image)
    label = _column([name for name in schema.names if name != image], LABELS) if labels else None
    known = None if label is None else _labels(column_of(label), _names(schema, label), path)
    described = describe_labels("a table", known, used=labels)
    if label not in (None, "label"):
        described += f", from its column {label!r}"
    if known is not None and not known.tell_apart:
        known = None
    count = int(rows._ends[-1]) if len(rows._ends) else 0
    items = NumberedItems(path.name, count, known)
    return TableSource(path, items, None if known is None else known.names, rows, described)


def _parquet(path: Path) -> tuple[Any, Any, Any]:
    parquet = importlib.import_module("pyarrow.parquet")
    file = parquet.ParquetFile(path, memory_map=True)
    metadata = file.metadata
    size = path.stat().st_size
    _require_bytes(metadata.num_rows, size, path)
    sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    if sizes and max(sizes) > _MAX_GROUP:
        raise SourceError(
            f"has groups of rows of more than {_MAX_GROUP >> 30} GiB", where=str(path), hint="Write smaller groups"
        )
    ends = np.cumsum([metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)])

    def groups(name: str) -> _Groups:
        return _Groups(ends.tolist(), lambda group: file.read_row_group(group, columns=[name]).column(0), size)

    return file.schema_arrow, groups, lambda name: file.read(columns=[name]).column(0)


def _arrow(path: Path) -> tuple[Any, Any, Any]:
    arrow = importlib.import_module("pyarrow")
    mapped = arrow.memory_map(str(path))
    is_file = mapped.read(6) == b"ARROW1"
    mapped.seek(0)
    if is_file:
        opened = arrow.ipc.open_file(mapped)
        parts = (opened.get_batch(number) for number in range(opened.num_record_batches))
    else:
        parts = opened = arrow.ipc.open_stream(mapped)
    size = path.stat().st_size
    batches = _bounded(parts, size, path)
    for batch in batches:
        batch.validate(full=True)  # offsets in it are the file's own, and would be followed anywhere
    ends = np.cumsum([batch.num_rows for batch in batches])

    def groups(name: str) -> _Groups:
        return _Groups(ends.tolist(), lambda group: batches[group].column(name), size)

    return opened.schema, groups, lambda name: arrow.chunked_array([batch.column(name) for batch in batches])


def _bounded(batches: Iterable[Any], size: int, path: Path) -> list[Any]:
    """All batches of a file, which may be compressed in it.

    Raises:
        SourceError: They are more than so many bytes can hold.
    """
    kept, rows, total = [], 0, 0
    for batch in batches:
        kept.append(batch)
        rows, total = rows + batch.num_rows, total + batch.nbytes
        _require_bytes(rows, size, path)
        if total > most_bytes(size):
            raise SourceError(f"unpacks to more than {MAX_RATIO} times its size", where=str(path))
    return kept


def _require_bytes(rows: int, size: int, path: Path) -> None:
    """Refuse a table that states more rows than it has bytes, such as of nothing at all.

    Raises:
        SourceError: It does.
    """
    if rows > min(size, _MAX_ROWS):
        raise SourceError(f"has {rows} rows in {size} bytes, which hold no images", where=str(path))


def _column(names: Sequence[str], known: Sequence[str]) -> str | None:
    plain = {name.strip().lower(): name for name in reversed(names)}
    return next((plain[name] for name in known if name in plain), None)


def _names(schema: Any, label: str) -> list[str] | None:  # noqa: ANN401 - pyarrow has no types
    """Names of classes in the metadata that the library of Hugging Face writes."""
    try:
        values = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = values["info"]["features"][label]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _labels(column: Any, names: list[str] | None, path: Path) -> EncodedLabels:  # noqa: ANN401 - pyarrow has no types
    found = []
    for value in column.to_pylist():
        if isinstance(value, int) and not isinstance(value, bool) and names and 0 <= value < len(names):
            value = names[value]
        if isinstance(value, bool) or not isinstance(value, str | int) or not 0 < len(str(value)) <= MAX_LABEL:
            raise SourceError("has a label that is neither text nor an integer", where=str(path))
        found.append(str(value))
    return EncodedLabels.of(found)
