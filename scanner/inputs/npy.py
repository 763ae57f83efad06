"""Headers of ``.npy`` data, and where that data lies, without reading it. Python objects are refused.

Images stay in the file and are read one by one. A memory map would do the same with less code, but
a file that shrinks while it is mapped kills the process; a short read is only an unreadable input.
"""

from __future__ import annotations

import math
import os
import struct
import warnings
import weakref
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from scanner.base.errors import SourceError
from scanner.inputs.items import UnreadableInput

MAX_UNPACKED_BYTES: Final = 4 * 2**30
MAX_RATIO: Final = 200
_RATIO_FREE_BYTES: Final = 16 * 2**20
_LOCAL_HEADER: Final = struct.Struct("<4s5H3I2H")


@dataclass(frozen=True)
class Header:
    """Shape and type of an array in C order, and the number of bytes before its data."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def data_bytes(self) -> int:
        """Bytes of the data."""
        return math.prod(self.shape) * self.dtype.itemsize


class Rows(Protocol):
    """An array of which one row is read at a time."""

    @property
    def header(self) -> Header:
        """Shape and type."""

    def row(self, index: int) -> NDArray[Any]:
        """Row ``index`` along the first axis, not writeable.

        Raises:
            UnreadableInput: If the file changed since it was opened, or cannot be read.
        """

    def all(self) -> NDArray[Any]:
        """The whole array.

        Raises:
            UnreadableInput: As for :meth:`row`.
        """


@dataclass(frozen=True)
class RowsInMemory:
    """An array that was compressed in its file."""

    header: Header
    array: NDArray[Any]

    def row(self, index: int) -> NDArray[Any]:
        """See :meth:`Rows.row`."""
        row: NDArray[Any] = self.array[index]
        return row

    def all(self) -> NDArray[Any]:
        """See :meth:`Rows.all`."""
        return self.array


class RowsInFile:
    """An array whose data lies uncompressed in an open file.

    Args:
        descriptor: The open file; closed with this object.
        start: Where the data starts in it.
        header: Shape and type.
    """

    def __init__(self, descriptor: int, start: int, header: Header) -> None:
        self.header = header
        self._descriptor = descriptor
        self._start = start
        self._row_bytes = math.prod(header.shape[1:]) * header.dtype.itemsize
        self._state = _state(descriptor)
        weakref.finalize(self, os.close, descriptor)

    def row(self, index: int) -> NDArray[Any]:
        """See :meth:`Rows.row`."""
        return self._read(index * self._row_bytes, self.header.shape[1:])

    def all(self) -> NDArray[Any]:
        """See :meth:`Rows.all`."""
        return self._read(0, self.header.shape)

    def _read(self, offset: int, shape: tuple[int, ...]) -> NDArray[Any]:
        wanted = math.prod(shape) * self.header.dtype.itemsize
        try:
            data = os.pread(self._descriptor, wanted, self._start + offset)
            changed = len(data) != wanted or _state(self._descriptor) != self._state
        except OSError as error:
            raise UnreadableInput("unreadable", error.strerror or "cannot be read") from None
        if changed:
            raise UnreadableInput("changed", "the array file changed since it was opened")
        return np.frombuffer(data, self.header.dtype).reshape(shape)


def open_npy(descriptor: int, path: Path) -> Rows:
    """The array of a ``.npy`` file.

    Args:
        descriptor: The open file; closed on failure, otherwise with the result.
        path: Its path, for messages.

    Raises:
        SourceError: If it is damaged, truncated or holds Python objects.
    """
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            header = read_header(file, path)
            size = os.fstat(descriptor).st_size
        if header.offset + header.data_bytes > size:
            raise _truncated(path, header.offset + header.data_bytes, size)
        return RowsInFile(descriptor, header.offset, header)
    except BaseException:
        os.close(descriptor)
        raise


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Rows:
    """An array of a ``.npz`` file: left in the file if stored, unpacked to memory if compressed.

    Raises:
        SourceError: If it is damaged, holds Python objects, or unpacks to too much.
    """
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError("is compressed in an unusual way", where=str(path), hint="Store it with numpy.savez")
    try:
        with archive.open(info) as member:
            header = read_header(member, path)
            if header.offset + header.data_bytes > info.file_size:
                raise _truncated(path, header.offset + header.data_bytes, info.file_size)
            if info.compress_type == zipfile.ZIP_STORED:
                return _stored(archive, info, header, path)
            return RowsInMemory(header, _unpack(member, info, header, path))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError, struct.error) as error:
        raise damaged(path, error) from None
    except MemoryError:
        raise SourceError("does not fit in memory", where=str(path), hint="Store it with numpy.savez") from None


def _stored(archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: Header, path: Path) -> Rows:
    assert archive.fp is not None
    descriptor = os.dup(archive.fp.fileno())
    try:
        local = _LOCAL_HEADER.unpack(os.pread(descriptor, _LOCAL_HEADER.size, info.header_offset))
        start = info.header_offset + _LOCAL_HEADER.size + local[-2] + local[-1] + header.offset
        size = os.fstat(descriptor).st_size
        if start + header.data_bytes > size:
            raise _truncated(path, start + header.data_bytes, size)
        return RowsInFile(descriptor, start, header)
    except BaseException:
        os.close(descriptor)
        raise


def _unpack(member: IO[bytes], info: zipfile.ZipInfo, header: Header, path: Path) -> NDArray[Any]:
    if info.file_size > MAX_UNPACKED_BYTES:
        raise SourceError(
            f"unpacks to {info.file_size} bytes, the limit is {MAX_UNPACKED_BYTES}",
            where=str(path),
            hint="Store it uncompressed with numpy.savez: then it need not fit in memory",
        )
    if info.file_size > max(_RATIO_FREE_BYTES, MAX_RATIO * info.compress_size):
        raise SourceError(
            f"unpacks to over {MAX_RATIO} times its size, like an attack does",
            where=str(path),
            hint="Store it uncompressed with numpy.savez",
        )
    array = np.empty(header.shape, header.dtype)
    view = array.reshape(-1).view(np.uint8).data
    filled = 0
    while filled < len(view):
        # A bounded step: zipfile holds what it unpacks.
        block = member.read(min(2**20, len(view) - filled))
        if not block:
            raise _truncated(path, header.data_bytes, filled)
        view[filled : filled + len(block)] = block
        filled += len(block)
    while member.read(2**20):  # up to the end, where the checksum is compared
        pass
    return array


def read_header(file: IO[bytes], path: Path) -> Header:
    """Read the header at the start of ``.npy`` data.

    Raises:
        SourceError: If it is damaged, or the data is not a plain array in C order.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"version {version}")
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
    except Exception as error:  # NumPy parses the header as Python source, which fails in many ways
        raise damaged(path, error) from None
    if dtype.hasobject:
        raise SourceError("holds Python objects, which would run code when loaded", where=str(path))
    if dtype.kind not in "biufSU" or dtype.subdtype is not None:
        raise SourceError(f"holds {str(dtype)[:60]}, not numbers", where=str(path))
    if fortran and len(shape) > 1:
        raise SourceError("is stored column by column", where=str(path), hint="Save numpy.ascontiguousarray(x) instead")
    if any(length < 0 for length in shape):
        raise SourceError(f"has the impossible shape {shape}", where=str(path))
    return Header(tuple(int(length) for length in shape), dtype, file.tell())


def damaged(path: Path, error: BaseException) -> SourceError:
    """The error for a file that is not what its suffix says."""
    text = (str(error).splitlines() or [type(error).__name__])[0][:120]
    return SourceError(f"is no readable {path.suffix.lower()} file ({text})", where=str(path))


def _truncated(path: Path, expected: int, size: int) -> SourceError:
    return SourceError(f"is truncated: {expected} bytes expected, {size} there", where=str(path))


def _state(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns
