"""Temporary files and folders that the next run can tell from what a killed one left behind.

Nothing runs in a process that is killed, so what it had open for writing stays. Every temporary file and folder of ours
is locked while its process lives, and the system gives the lock up however the process ends. So one that has our kind
of name, belongs to this user and can be locked has no owner any more. Where a file system knows no locks, nothing is
removed.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FILE_NAME: Final = re.compile(r"\.latentscan-[0-9a-f]{16}\.tmp")
_FOLDER_NAME: Final = re.compile(r"\.latentscan-work-[0-9a-f]{16}")


def temporary_file_name() -> str:
    """A new name for a temporary file: of a fixed length, whatever it is going to be called."""
    return f".latentscan-{secrets.token_hex(8)}.tmp"


def claim(path: Path, descriptor: int) -> bool:
    """Lock a new temporary file or folder for as long as its descriptor, or a copy of it, is open.

    Args:
        path: Its path.
        descriptor: Open on it.

    Returns:
        False if another process took it for a leftover in the moment before: then it has to be made anew.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks here, so nobody removes anything here either
        return True
    return _is_at(path, descriptor)


def remove_leftover_files(folder: Path) -> None:
    """Remove the temporary files in a folder whose processes have ended. What cannot be removed stays."""
    with suppress(OSError):
        for path in _named(folder, _FILE_NAME):
            with suppress(OSError), _orphan(path, stat.S_IFREG, os.O_RDWR):
                path.unlink()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder among the system's temporary ones, removed at the end; those of killed processes go first."""
    root = Path(tempfile.gettempdir())
    with suppress(OSError):
        for path in _named(root, _FOLDER_NAME):
            with suppress(OSError), _orphan(path, stat.S_IFDIR, os.O_RDONLY):
                shutil.rmtree(path, ignore_errors=True)
    folder, descriptor = _claimed_folder(root)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _claimed_folder(root: Path) -> tuple[Path, int]:
    while True:
        folder = root / f".latentscan-work-{secrets.token_hex(8)}"
        folder.mkdir(0o700)
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            if claim(folder, descriptor):
                return folder, descriptor
            os.close(descriptor)


def _named(folder: Path, name: re.Pattern[str]) -> list[Path]:
    with os.scandir(folder) as entries:
        return [Path(entry.path) for entry in entries if name.fullmatch(entry.name)]


@contextmanager
def _orphan(path: Path, kind: int, flags: int) -> Iterator[None]:
    """Hold the lock of a leftover.

    Raises:
        OSError: It is none.
    """
    status = path.lstat()
    if fcntl is None or stat.S_IFMT(status.st_mode) != kind or status.st_uid != os.geteuid():
        raise FileNotFoundError(path)
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(path, descriptor):
            raise FileNotFoundError(path)
        yield
    finally:
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False
