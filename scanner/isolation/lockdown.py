"""Everything that this process gives up before it reads a model file, and what it could not give up.

Each layer is tried on its own. Where the kernel, the machine or a container does not allow one, that is stated, and
the others hold. Called first thing in a fresh interpreter: namespaces and Landlock do not reach threads that exist.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from scanner.isolation import landlock, seccomp
from scanner.isolation.kernel import (
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    Unavailable,
    prctl,
    reason,
    set_capabilities,
    unshare,
)

NETWORK: Final = "network namespace"
FILES: Final = "landlock"
CALLS: Final = "seccomp"
PRIVILEGES: Final = "privileges"
LIMITS: Final = "limits"
PARENT: Final = "ends with parent"

_NEW_IPC, _NEW_USER, _NEW_NETWORK = 0x08000000, 0x10000000, 0x40000000
# Root may be installed where only it can read; Landlock says what may be read at all.
_READ_ANY_FILE: Final = 1 << 2
_OPEN_FILES: Final = 1024
_THREADS: Final = 512


@dataclass(frozen=True)
class Layer:
    """One layer of isolation.

    Attributes:
        name: ``network namespace``, ``landlock``, ``seccomp``, ``privileges``, ``limits`` or ``ends with parent``.
        active: Whether it holds.
        detail: What it covers, or why it is absent.
    """

    name: str
    active: bool
    detail: str


@dataclass(frozen=True)
class Plan:
    """What the process is to keep.

    Attributes:
        parent: Number of the parent process.
        readable: Files and folders that it may read.
        writable: Folders that it may write to.
        file_bytes: Largest file that it may write.
        cpu_seconds: Processor time.
        report: Descriptor that the outcome is written to, as JSON, and that is then closed.
    """

    parent: int
    readable: tuple[str, ...]
    writable: tuple[str, ...]
    file_bytes: int
    cpu_seconds: int
    report: int

    def to_json(self) -> str:
        """As one argument of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The inverse of :meth:`to_json`."""
        values = json.loads(text)
        return cls(**{**values, "readable": tuple(values["readable"]), "writable": tuple(values["writable"])})


def lock_down(plan: Plan) -> None:
    """Give up what can be given up, and say on ``plan.report`` what was."""
    layers = [attempt(name, step) for name, step in _steps(plan)]
    with os.fdopen(plan.report, "w", encoding="utf-8") as report:
        json.dump([asdict(layer) for layer in layers], report)
        report.write("\n")


def _steps(plan: Plan) -> list[tuple[str, Callable[[], str]]]:
    """In order: namespaces need privileges, signals of the parent's end are lost with them, filters come last."""
    return [
        (NETWORK, _leave_network),
        (LIMITS, lambda: limit_resources(plan)),
        (FILES, lambda: _restrict_files(plan)),
        (PRIVILEGES, _drop_privileges),
        (PARENT, lambda: _end_with(plan.parent)),
        (CALLS, _forbid_calls),
    ]


def attempt(name: str, step: Callable[[], str]) -> Layer:
    """One layer: what it covers, or why it is absent."""
    try:
        return Layer(name, True, step())
    except Unavailable as error:
        return Layer(name, False, str(error))
    except OSError as error:
        return Layer(name, False, reason(error))
    except (AttributeError, ImportError, ValueError):
        return Layer(name, False, "this system does not have it")


def _leave_network() -> str:
    """A namespace without any interface but a loopback that is down."""
    with contextlib.suppress(OSError):
        if os.geteuid() == 0:
            unshare(_NEW_NETWORK | _NEW_IPC)
            return "no network interfaces"
    user, group = os.geteuid(), os.getegid()
    unshare(_NEW_USER | _NEW_NETWORK | _NEW_IPC)
    with contextlib.suppress(OSError):  # unmapped, this process is nobody to itself and the same to the kernel
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    import resource

    # Counted within the namespace, so that other processes of the user do not matter.
    resource.setrlimit(resource.RLIMIT_NPROC, (_THREADS, _THREADS))
    return f"no network interfaces; a user namespace of {_THREADS} threads at most"


def limit_resources(plan: Plan) -> str:
    """Bound files and time; memory is bounded once libraries are loaded. Returns what is bounded."""
    import resource

    # The scanner may have bounded its own; the child's is another.
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: plan.cpu_seconds,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_FSIZE: plan.file_bytes,
    }
    for kind, value in limits.items():
        lower(kind, value)
    return "memory, processor time, file size, open files, core dumps"


def lower(kind: int, value: int) -> None:
    """Lower a resource limit for good; one that is lower already stays."""
    import resource

    hard = resource.getrlimit(kind)[1]
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


def _restrict_files(plan: Plan) -> str:
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    own = os.path.realpath("/proc/self")
    return landlock.restrict([((*plan.readable, own), landlock.READ), (plan.writable, landlock.WRITE)])


def _drop_privileges() -> str:
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    kept = _READ_ANY_FILE if os.geteuid() == 0 else 0
    set_capabilities(kept)
    return "no capabilities but to read files" if kept else "no capabilities"


def _end_with(parent: int) -> str:
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        raise SystemExit(1)
    return "killed when the scanner ends"


def _forbid_calls() -> str:
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    return seccomp.forbid()
