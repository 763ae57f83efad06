"""Read one file that nobody vouches for: regular, bounded, never through a link out of its folder."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from scanner.inputs.source import UnreadableInput

MAX_FILE_BYTES = 64 * 1024 * 1024

_REASONS = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ELOOP: "symlink-loop",
    errno.ENXIO: "not-a-file",
}


def read_file(root: Path, relative: str, limit: int = MAX_FILE_BYTES) -> bytes:
    """Read ``root / relative`` whole.

    Opening never blocks on a FIFO, and what was opened has to be a regular file inside ``root``
    after links are resolved.

    Raises:
        UnreadableInput: If it is missing, not a regular file, outside the root, or too large.
    """
    path = root / relative
    try:
        resolved = path.resolve(strict=True)
        if not resolved.is_relative_to(root.resolve(strict=True)):
            raise UnreadableInput("outside-source", "a link that leads out of the source")
        descriptor = os.open(resolved, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise UnreadableInput(_REASONS.get(error.errno or 0, "unreadable"), error.strerror or "cannot open") from None
    except (RuntimeError, ValueError) as error:
        # RuntimeError: a loop of symbolic links; ValueError: a NUL byte in the name.
        raise UnreadableInput("symlink-loop" if isinstance(error, RuntimeError) else "bad-name", str(error)) from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableInput("not-a-file", "not a regular file")
        if status.st_size > limit:
            raise UnreadableInput("too-large", f"{status.st_size} bytes, the limit is {limit}")
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise UnreadableInput("unreadable", error.strerror or "cannot read") from None
    if len(data) > limit:
        raise UnreadableInput("too-large", f"grew beyond the limit of {limit} bytes while it was read")
    return data
