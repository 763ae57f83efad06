"""What else takes every row of a scan, in order: the file of rows, and the digest of the inputs."""

from __future__ import annotations

import hashlib

from scanner.report.rows import RowsWriter
from scanner.scanning.rows import RowNamer
from scanner.scanning.scanned import ScannedInput, UnreadableRow


class RowFile:
    """Writes every row to the file of rows."""

    def __init__(self, file: RowsWriter, namer: RowNamer) -> None:
        self._file, self._namer = file, namer

    def scanned(self, row: ScannedInput) -> None:
        """Write a judged input."""
        self._file.write(self._namer.scanned(row, all_scores=True))

    def unreadable(self, row: UnreadableRow) -> None:
        """Write an input that was left out."""
        self._file.write(self._namer.unreadable(row))


class InputsDigest:
    """SHA-256 over the inputs' digests, in order."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def scanned(self, row: ScannedInput) -> None:
        """Add a judged input."""
        self._digest.update(f"{row.sha256}\n".encode("ascii"))

    def unreadable(self, row: UnreadableRow) -> None:
        """Add an input that was left out, which may have no digest."""
        self._digest.update(f"{row.sha256 or ''}\n".encode("ascii"))

    def hexdigest(self) -> str:
        """Of all of them."""
        return self._digest.hexdigest()
