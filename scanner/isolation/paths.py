"""What a Python process has to read to import its libraries, and nothing of the user's."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import scanner

_SYSTEM: Final = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/cuda", "/opt/cuda"),
    *("/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/usr/share/zoneinfo"),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm", "/proc/sys/kernel", "/proc/filesystems"),
    *("/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm"),
    *("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"),
)
_PACKAGES: Final = ("scanner", "detectors", "reference")


def readable_paths(imports: Sequence[str]) -> tuple[str, ...]:
    """Files and folders to read.

    Args:
        imports: Where modules are imported from, as in ``sys.path``.
    """
    package = Path(scanner.__file__).resolve().parent.parent
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    python = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, os.path.dirname(sys.executable)]  # noqa: PTH120
    wanted = [path for path in (*imports, *libraries) if path and not _holds_more(path, package)]
    return tuple(dict.fromkeys((*python, *wanted, *(str(package / name) for name in _PACKAGES), *_SYSTEM)))


def _holds_more(path: str, package: Path) -> bool:
    """Whether a folder is a home, a checkout or the current directory, which hold more than modules."""
    real = Path(path).resolve()
    return any(
        Path(holder).resolve().is_relative_to(real)
        for holder in (Path.home(), Path.cwd(), package)
        # A wheel lies among other wheels; only a checkout holds what is no module.
        if holder != package or package.name not in ("site-packages", "dist-packages")
    )
