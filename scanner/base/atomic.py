"""Files that appear whole or not at all.

A gate in CI acts on the file that it finds. So a result is written beside its destination under a temporary name,
flushed to the disk, and only then renamed over the destination; whatever goes wrong before that leaves the
destination as it was and removes the temporary file. What a killed process left is removed by the next one that
writes there.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from scanner.base.errors import OutputError
from scanner.base.leftovers import claim, remove_leftover_files, temporary_file_name
from scanner.base.text import printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_ADVICE: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("no space left on the device", "Free some space or write elsewhere"),
    errno.EDQUOT: ("the disk quota is used up", "Free some space or write elsewhere"),
    errno.EFBIG: ("the file is larger than the file system or the limits allow", "Write elsewhere"),
    errno.EROFS: ("the file system is read-only", "Write to a folder that is writable"),
    errno.EACCES: ("permission denied", "Write to a folder that you may write to"),
    errno.EPERM: ("operation not permitted", "Write to a folder that you may write to"),
    errno.ENOENT: ("its folder does not exist", "Create the folder first"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "Check the path"),
    errno.EISDIR: ("is a folder", "Give the name of a file"),
    errno.ENAMETOOLONG: ("the name is too long", "Choose a shorter name"),
    errno.ELOOP: ("its symbolic links form a loop", "Check the path"),
    errno.EPIPE: ("the reader has gone away", "Keep the reading end of the pipe open"),
}


def output_error(error: OSError, where: Path | str) -> OutputError:
    """The one-line error for an `OSError` met while writing to `where`."""
    unknown = ((error.strerror or type(error).__name__).lower(), "Write elsewhere")
    what, hint = _ADVICE.get(error.errno or 0, unknown)
    return OutputError(f"cannot be written: {what}", where=printable(str(where)), hint=hint)


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Open a seekable binary file that replaces `path` when, and only when, the block ends well.

    A symbolic link stays and its target is replaced. A device or a pipe (``/dev/null``, ``>(command)``) cannot be
    replaced and is written to directly.

    Args:
        path: The destination. An existing regular file is replaced.

    Yields:
        The file to write to. Its own errors are `OutputError`; other exceptions of the block pass through unchanged.

    Raises:
        OutputError: The destination cannot be written.
    """
    with _reported(path):
        in_place = _is_stream(path)
        destination = Path(os.path.realpath(path))
    with _stream(path) if in_place else _replacing(destination, shown=path) as file:
        yield file


def check_destination(path: Path) -> None:
    """Find out early, before hours of work, that `path` could not be written, and tidy up after killed processes.

    Raises:
        OutputError: As `atomic_writer` would.
    """
    with _reported(path):
        if _is_stream(path):
            return
        _check_writable(Path(os.path.realpath(path)).parent)


def check_folder(path: Path) -> None:
    """The same for a folder that files are going to be written into, and that may have to be made. Makes nothing.

    Raises:
        OutputError: If it could not be made, or not be written into.
    """
    with _reported(path):
        nearest = path.absolute()
        while not nearest.exists():
            nearest = nearest.parent
        _check_writable(nearest)


def _check_writable(folder: Path) -> None:
    temporary, descriptor = _create(folder)
    os.close(descriptor)
    temporary.unlink(missing_ok=True)
    remove_leftover_files(folder)


class _OutputFile(io.FileIO):
    """A raw file whose write errors are `OutputError`, naming the destination and not the temporary file."""

    def __init__(self, descriptor: int, mode: str, shown: Path) -> None:
        super().__init__(descriptor, mode)
        self._shown = shown

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            # None would mean a non-blocking descriptor that is full: there are none here.
            return cast(int, super().write(data))
        except OSError as error:
            raise output_error(error, self._shown) from error


@contextmanager
def _replacing(destination: Path, shown: Path) -> Iterator[BinaryIO]:
    with _reported(shown):
        temporary, descriptor = _create(destination.parent)
        lock = os.dup(descriptor)  # until the file has its own name: closing the file comes before
    try:
        file = io.BufferedRandom(_OutputFile(descriptor, "r+b", shown))
        try:
            yield cast(BinaryIO, file)
            file.flush()
            with _reported(shown):
                os.fsync(descriptor)
            file.close()
        finally:
            # After a failure, closing tries to write what is left in the buffer once more: it may fail again.
            with suppress(OutputError, OSError):
                file.close()
        with _reported(shown):
            temporary.replace(destination)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    finally:
        os.close(lock)
    _sync_folder(destination.parent)


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    with _reported(path):
        # Opened by the name given: /dev/stdout resolves to a pipe that has no name of its own.
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    file = io.BufferedWriter(_OutputFile(descriptor, "wb", path))
    try:
        yield cast(BinaryIO, file)
        file.flush()
    finally:
        with suppress(OutputError, OSError):
            file.close()


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise output_error(error, path) from error
    except ValueError as error:  # a NUL in the name
        raise OutputError("is not a valid path", where=printable(str(path)), hint="Check the path") from error


def _is_stream(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return not stat.S_ISREG(mode)


def _create(folder: Path) -> tuple[Path, int]:
    while True:
        # Not derived from the destination's name, which may already be as long as the file system allows.
        temporary = folder / temporary_file_name()
        # os.open, not tempfile.mkstemp: the result gets the permissions that the user's umask asks for, not 0600.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if claim(temporary, descriptor):
            return temporary, descriptor
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    # The rename itself must survive a power cut. Some file systems cannot sync a folder: the file is whole anyway.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
