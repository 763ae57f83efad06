"""Reading a file that somebody named: never a pipe or a device, never more than a bound."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from scanner.base.errors import ModelError, UsageError
from scanner.base.text import printable


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading, without ever waiting on a pipe or device.

    Raises:
        ModelError: It is missing, not a regular file, or may not be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError("no such file", where=str(path)) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a valid path"
        raise ModelError(f"the file cannot be opened ({reason})", where=str(path)) from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise ModelError("a directory, not a file", where=str(path), hint="Give the model file itself")
    raise ModelError("not a regular file", where=str(path))


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a file that a person named, up to a size.

    Raises:
        UsageError: It cannot be read, or is larger.
    """
    where = printable(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a valid path"
        raise UsageError(f"cannot be read ({reason.lower()})", where=where, hint="Check the path") from None
    if len(content) > limit:
        raise UsageError(f"is larger than {limit} bytes", where=where, hint="Check that it is the right file")
    return content
