"""Locking down a process that has begun its work: it keeps what it was asked to read and write, and nothing else.

Unlike :mod:`scanner.isolation.lockdown`, which makes a fresh process give up all but a folder, this is for the process
of the command itself. It keeps its environment, its standard streams, its limits and its place in the network, which
it cannot use any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scanner.isolation import landlock, seccomp
from scanner.isolation.kernel import PR_SET_NO_NEW_PRIVS, Unavailable, prctl, set_capabilities
from scanner.isolation.lockdown import CALLS, FILES, LIMITS, PRIVILEGES, Layer, attempt

_THREADS: Final = Path("/proc/self/task")
# Root reads and writes files of others, where Landlock lets it.
_ANY_FILE: Final = 1 << 1 | 1 << 2


@dataclass(frozen=True)
class Kept:
    """What a process keeps.

    Attributes:
        readable: Files and folders that it may read.
        writable: Files and folders that it may write, too.
        emptied: Folders below which it may remove empty folders: one that it is going to remove at its end.
        memory: Bytes that it may take beyond what it has; None for no bound.
        devices: Devices that it may use.
    """

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    emptied: tuple[str, ...] = ()
    memory: int | None = None
    devices: tuple[str, ...] = ()


def lock_down_self(kept: Kept) -> tuple[Layer, ...]:
    """Give up, for good, what can be given up, and say what was.

    Landlock does not reach threads that exist, so this comes before libraries start theirs.
    """
    steps: list[tuple[str, Callable[[], str]]] = [
        (LIMITS, lambda: _limit_memory(kept.memory)),
        (FILES, lambda: _restrict_files(kept)),
        (PRIVILEGES, _drop_privileges),
        (CALLS, _forbid_calls),
    ]
    return tuple(attempt(name, step) for name, step in steps)


def limit_memory(more: int) -> str:
    """Bound what this process may take beyond what it has, for as long as nobody raises it again.

    Of memory with data of its own, not of the address space: drivers and libraries reserve much that they never use.

    Args:
        more: Bytes.

    Returns:
        What is bounded.
    """
    import resource

    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    bound = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_DATA, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard))
    return f"{more >> 20} MiB of memory more than at the start"


def _limit_memory(more: int | None) -> str:
    if more is None:
        raise Unavailable("memory is not bounded beside a GPU, whose driver maps much that nobody uses")
    return limit_memory(more)


def _restrict_files(kept: Kept) -> str:
    if len(list(_THREADS.iterdir())) > 1:
        raise Unavailable("threads had been started already")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    own = os.path.realpath("/proc/self")
    granted = [
        ((*kept.readable, own), landlock.READ),
        (kept.writable, landlock.WRITE),
        (kept.devices, landlock.USE),
        (kept.emptied, landlock.EMPTY),
    ]
    return landlock.restrict(granted)


def _drop_privileges() -> str:
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    kept = _ANY_FILE if os.geteuid() == 0 else 0
    set_capabilities(kept)
    return "no capabilities but to read and write files" if kept else "no capabilities"


def _forbid_calls() -> str:
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    return seccomp.forbid()
