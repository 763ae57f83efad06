"""How many threads this process may keep busy."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores in the affinity mask, further limited by the CPU quota of a container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(_MEMBERSHIP, _CGROUPS)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def cpu_quota(membership: Path, root: Path) -> float | None:
    """Smallest CPU quota in cores of the process's control groups (version 2), or None without one.

    A quota limits all groups below the one that has it. In a container, the own group is usually the
    root of what can be seen.

    Args:
        membership: ``/proc/self/cgroup``.
        root: Where the hierarchy is mounted.
    """
    group = root
    try:
        for line in membership.read_text(encoding="utf-8").splitlines():
            if line.startswith("0::/"):
                group = root / line.removeprefix("0::/")
    except (OSError, UnicodeDecodeError):
        pass
    quotas = [_quota(folder / "cpu.max") for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(path: Path) -> float | None:
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
