"""Unpacking a gzip-compressed archive into a temporary file that has no name, within bounds."""

from __future__ import annotations

import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import IO, Final

from scanner.base.errors import SourceError
from scanner.inputs.expansion import MAX_RATIO, most_bytes

MAX_UNPACKED: Final = 64 * 2**30
LEFT_FREE: Final = 2**30
_ALWAYS_MEMBERS: Final = 1_000
_BYTES_A_MEMBER: Final = 1_024
_CHUNK: Final = 2**16
_OUTPUT: Final = 2**20


def unpacked(descriptor: int, path: Path) -> int:
    """A descriptor of a temporary file without a name, which holds what a compressed one does.

    Args:
        descriptor: Open on the compressed file at its start; is closed.
        path: The file, for messages.

    Raises:
        SourceError: It is damaged, a decompression bomb, or too large for the disk.
    """
    with os.fdopen(descriptor, "rb") as file, tempfile.TemporaryFile() as target:
        try:
            _unpack(file, target, path)
            target.flush()
        except (zlib.error, EOFError):
            raise SourceError("is a damaged gzip archive", where=str(path), hint="Pack or download it again") from None
        except OSError as error:
            raise SourceError(f"cannot be unpacked ({error.strerror})", where=str(path)) from None
        return os.dup(target.fileno())


def _unpack(file: IO[bytes], target: IO[bytes], path: Path) -> None:
    """All members one after the other, zeros between and behind them left out.

    Raises:
        EOFError: The last one does not end.
    """
    bounds = _Bounds(path)
    unpacker, begun = zlib.decompressobj(wbits=31), False
    while block := file.read(_CHUNK):
        bounds.read(len(block))
        while block := block if begun else block.lstrip(b"\0"):
            data, begun = unpacker.decompress(block, _OUTPUT), True
            block = unpacker.unconsumed_tail
            bounds.unpack(len(data))
            target.write(data)
            if unpacker.eof:
                bounds.end_member()
                block = unpacker.unused_data
                unpacker, begun = zlib.decompressobj(wbits=31), False
    if begun:
        raise EOFError


class _Bounds:
    """Counts what was read and what it became.

    Args:
        path: The file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._packed, self._total, self._members = 0, 0, 0

    def read(self, size: int) -> None:
        """Count compressed bytes, and leave something of the disk to others.

        Raises:
            SourceError: There is too little.
        """
        self._packed += size
        if shutil.disk_usage(tempfile.gettempdir()).free < LEFT_FREE:
            raise SourceError(
                f"leaves less than {LEFT_FREE >> 20} MiB on the disk of temporary files when it is unpacked",
                where=str(self._path),
                hint="Unpack it first, or set TMPDIR to where there is room",
            )

    def unpack(self, size: int) -> None:
        """Count what they became.

        Raises:
            SourceError: It is a decompression bomb.
        """
        self._total += size
        if self._total > min(MAX_UNPACKED, most_bytes(self._packed)):
            raise SourceError(
                f"unpacks to more than {MAX_RATIO} times its size or {MAX_UNPACKED >> 20} MiB, as a decompression bomb "
                "does",
                where=str(self._path),
                hint="If it is yours, unpack it first",
            )

    def end_member(self) -> None:
        """Count parts that are compressed on their own.

        Raises:
            SourceError: They are absurdly many.
        """
        self._members += 1
        if self._members > _ALWAYS_MEMBERS + self._packed // _BYTES_A_MEMBER:
            raise SourceError("is a gzip archive of absurdly many parts", where=str(self._path))
