"""What a running child process takes of memory, disk and threads, looked at from outside while it runs.

Limits that the kernel keeps are set in the child. These are about what no such limit covers: several files together,
files that have no name any more, and threads of root.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROCESSES: Final = Path("/proc")
_BLOCK: Final = 512
_MOST_FILES: Final = 10_000


@dataclass(frozen=True)
class Bounds:
    """The most that a child may take.

    Attributes:
        memory: Bytes of resident memory.
        disk: Bytes of all files in its folder, and of those that it holds open without a name.
        threads: Number of them.
    """

    memory: int
    disk: int
    threads: int

    def passed(self, process: int, folder: Path) -> str | None:
        """What the process takes too much of, for a sentence; None where all is well or cannot be told."""
        resident, threads = _resident_and_threads(process)
        if resident > self.memory:
            return f"more than {self.memory >> 20} MiB of memory"
        if threads > self.threads:
            return f"more than {self.threads} threads"
        if _stored(process, folder) > self.disk:
            return f"more than {self.disk >> 20} MiB of files"
        return None


def _resident_and_threads(process: int) -> tuple[int, int]:
    found = {"VmRSS": 0, "Threads": 0}
    try:
        lines = (_PROCESSES / str(process) / "status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0, 0
    for line in lines:
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value.split()[0])
    return found["VmRSS"] * 1024, found["Threads"]


def _stored(process: int, folder: Path) -> int:
    """Bytes on disk; a file that was removed while it is open counts by its descriptor."""
    sizes: dict[tuple[int, int], int] = {}
    folders = [str(folder)]
    while folders and len(sizes) < _MOST_FILES:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    state = entry.stat(follow_symlinks=False)
                    sizes[state.st_dev, state.st_ino] = state.st_blocks * _BLOCK
                    if stat.S_ISDIR(state.st_mode):
                        folders.append(entry.path)
        except OSError:
            continue
    try:
        descriptors = list((_PROCESSES / str(process) / "fd").iterdir())
    except OSError:
        descriptors = []
    for descriptor in descriptors:
        try:
            state = descriptor.stat()
        except OSError:
            continue
        if stat.S_ISREG(state.st_mode) and not state.st_nlink:
            sizes[state.st_dev, state.st_ino] = state.st_blocks * _BLOCK
    return sum(sizes.values())
