"""The file with one row per input: JSON Lines or Parquet, by suffix, written as the scan goes.

Rows are as many as inputs, so they are never held in memory, and neither is the file: it appears under its name when
the scan is complete. A row is an `InputRow`, with the floats rounded as in the report.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

from pydantic_core import to_json

from scanner.base.atomic import atomic_writer
from scanner.base.canonical import rounded
from scanner.base.errors import UsageError
from scanner.base.text import portable, printable
from scanner.report.json_report import visible
from scanner.report.schema import InputRow, RowsSection

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

RowFormat = Literal["jsonl", "parquet"]

_FORMATS: dict[str, RowFormat] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
_ROWS_PER_GROUP = 10_000


def row_format(path: Path) -> RowFormat:
    """The format that the suffix of `path` asks for; call it early, before the scan.

    Raises:
        UsageError: The suffix is unknown, or Parquet is asked for and pyarrow is not installed.
    """
    where = printable(str(path))
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise UsageError("rows are written as .jsonl or .parquet", where=where, hint="Give a name with such a suffix")
    if form == "parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise UsageError(
                "Parquet needs the package pyarrow", where=where, hint="Install latentscan[parquet], or write .jsonl"
            ) from None
    return form


class RowsWriter:
    """Takes rows one after the other."""

    def __init__(self, path: Path, form: RowFormat, file: BinaryIO) -> None:
        self._name = portable(path.name)
        self._form: RowFormat = form
        self._file = _HashedFile(file)
        self._encoder: _Encoder = _Lines(self._file) if form == "jsonl" else _Parquet(self._file)
        self._count = 0

    def write(self, row: InputRow) -> None:
        """Append one row.

        Raises:
            OutputError: The file cannot be written.
        """
        # Not by the JSON mode of Pydantic: rounding comes between, and this is the scan's inner loop.
        self._encoder.add({name: rounded(value) for name, value in row.model_dump().items()})
        self._count += 1

    def finish(self) -> None:
        """Write what is still held back; `open_rows` does it."""
        self._encoder.finish()

    def abandon(self) -> None:
        """Let go of the file after a failure; `open_rows` does it."""
        self._file.abandoned = True
        # The Parquet writer would otherwise close itself when collected, into a file that is closed already.
        with suppress(Exception):
            self._encoder.finish()

    def section(self) -> RowsSection:
        """What the report says of the file, once `open_rows` is left."""
        return RowsSection(path=self._name, format=self._form, count=self._count, sha256=self._file.sha256)


@contextmanager
def open_rows(path: Path) -> Iterator[RowsWriter]:
    """Open a file for rows. It appears when the block ends well, and nothing is left otherwise.

    Raises:
        UsageError: As `row_format`.
        OutputError: The file cannot be written.
    """
    form = row_format(path)
    with atomic_writer(path) as file:
        writer = RowsWriter(path, form, file)
        try:
            yield writer
            writer.finish()
        except BaseException:
            writer.abandon()
            raise


class _HashedFile(io.RawIOBase):
    """Writes through to a file and hashes on the way: rows are written once and in order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.abandoned = False

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        if self.abandoned:
            return memoryview(data).nbytes
        self._hash.update(data)
        return self._file.write(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


class _Encoder(Protocol):
    def add(self, row: dict[str, Any]) -> None: ...
    def finish(self) -> None: ...


class _Lines:
    def __init__(self, file: _HashedFile) -> None:
        self._file = file

    def add(self, row: dict[str, Any]) -> None:
        # Three times as fast as json.dumps. Keys come in the order of the schema.
        self._file.write(visible(to_json(row).decode()).encode() + b"\n")

    def finish(self) -> None:
        """Nothing is held back."""


class _Parquet:
    def __init__(self, file: _HashedFile) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        top_score = pa.struct([("key", pa.string()), ("p_value", pa.float64()), ("z", pa.float64())])
        types = {
            "index": pa.int64(),
            "finite": pa.bool_(),
            "predicted": pa.int32(),
            "source": pa.int32(),
            "p_value": pa.float64(),
            "density_p_value": pa.float64(),
            "shared_units": pa.float64(),
            "common_direction": pa.float64(),
            "score": pa.float64(),
            "flagged": pa.bool_(),
            "top_scores": pa.list_(top_score),
            "scores": pa.map_(pa.string(), pa.float64()),
        }
        self._schema = pa.schema([(name, types.get(name, pa.string())) for name in InputRow.model_fields])
        self._table_from_rows = pa.Table.from_pylist
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        if row["scores"] is not None:
            row["scores"] = list(row["scores"].items())
        self._rows.append(row)
        if len(self._rows) == _ROWS_PER_GROUP:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._table_from_rows(self._rows, self._schema))
            self._rows.clear()
