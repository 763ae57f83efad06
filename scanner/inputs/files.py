"""Read files that nobody vouches for: regular, bounded, never through a link out of their folder."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from scanner.inputs.items import UnreadableInput

MAX_FILE_BYTES: Final = 64 * 2**20

# O_NONBLOCK: opening a FIFO must not wait for a writer.
_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

_REASONS: Final = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ELOOP: "symlink-loop",
    errno.ENXIO: "not-a-file",  # a socket
    errno.ENAMETOOLONG: "bad-name",
}


class FolderReader:
    """Reads files by path relative to a folder, and none outside of it.

    A link to a regular file inside the folder is followed, any other link is not, unless the user says so.

    Args:
        folder: An existing folder.
        limit: Most bytes that a file may have.
        follow_links: Whether links may lead out of the folder.
    """

    def __init__(self, folder: Path, limit: int = MAX_FILE_BYTES, *, follow_links: bool = False) -> None:
        self._folder = os.path.realpath(folder)
        self._limit = limit
        self._follow_links = follow_links
        # Parent folders that were found inside: resolving one costs as much as decoding a tiny image.
        self._inside: set[str] = set()

    def read(self, relative: str) -> bytes:
        """The bytes of ``relative``.

        Raises:
            UnreadableInput: If it is missing, no regular file, outside the folder, too large, or
                changes meanwhile.
        """
        path = os.path.join(self._folder, relative)  # noqa: PTH118 - a path object each time is slow
        try:
            return read_descriptor(self._open(path), self._limit)
        except OSError as error:
            raise unreadable_file(error) from None
        except ValueError:
            raise UnreadableInput("bad-name", "the name holds a NUL byte") from None

    def size(self, relative: str) -> int | None:
        """Bytes of a regular file, as the system states them; None of a link, or of what is none."""
        try:
            status = os.lstat(os.path.join(self._folder, relative))  # noqa: PTH118
        except (OSError, ValueError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def _open(self, path: str) -> int:
        parent = os.path.dirname(path)  # noqa: PTH120
        if parent not in self._inside:
            self._require_inside(os.path.realpath(parent))
            self._inside.add(parent)
        try:
            return os.open(path, _FLAGS | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        target = os.path.realpath(path, strict=True)
        self._require_inside(target)
        return os.open(target, _FLAGS | os.O_NOFOLLOW)

    def _require_inside(self, resolved: str) -> None:
        if not self._follow_links and os.path.commonpath((self._folder, resolved)) != self._folder:
            raise UnreadableInput("outside-source", "a link leads out of the source; --follow-links follows it")


def open_regular(path: Path) -> int:
    """A descriptor of a file that the user named: links are followed.

    Raises:
        UnreadableInput: If it is missing or no regular file.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        raise unreadable_file(error) from None
    except ValueError:
        raise UnreadableInput("bad-name", "the name holds a NUL byte") from None
    try:
        _require_regular(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_descriptor(descriptor: int, limit: int) -> bytes:
    """Read an open file whole and close it.

    Raises:
        UnreadableInput: If it is no regular file, empty, too large, or changes meanwhile.
        OSError: If reading fails.
    """
    try:
        before = os.fstat(descriptor)
        _require_regular(before)
        if before.st_size > limit:
            raise UnreadableInput("too-large", f"{before.st_size} bytes, the limit is {limit}")
        # One byte more than there should be, to see whether the file grew.
        data = os.read(descriptor, before.st_size + 1)
        while len(data) < before.st_size and (more := os.read(descriptor, before.st_size + 1 - len(data))):
            data += more
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if len(data) != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
        raise UnreadableInput("changed", "the file changed while it was read")
    if not data:
        raise UnreadableInput("empty", "the file has no bytes")
    return data


def unreadable_file(error: OSError) -> UnreadableInput:
    """The reason code for an error of the operating system."""
    return UnreadableInput(_REASONS.get(error.errno or 0, "unreadable"), error.strerror or "cannot be read")


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        is_folder = stat.S_ISDIR(status.st_mode)
        kind = "a folder, or a link to one, which --follow-links enters" if is_folder else "not a regular file"
        raise UnreadableInput("not-a-file", kind)
