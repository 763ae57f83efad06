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
_PACKAGES: Final = ("latentscan", "scanner", "detectors", "reference")


def readable_paths(imports: Sequence[str]) -> tuple[str, ...]:
    """Files and folders to read.

    Args:
        imports: Where modules are imported from, as in ``sys.path``.
    """
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    python = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix, os.path.dirname(sys.executable)]  # noqa: PTH120
    wanted = [path for path in (*imports, *libraries) if path and not holds_more(path)]
    return tuple(dict.fromkeys((*python, *wanted, *(str(_package() / name) for name in _PACKAGES), *_SYSTEM)))


def code_paths(file: Path) -> tuple[str, ...]:
    """What a Python file may import from beside it: its folder, or only the modules in one that holds more.

    Args:
        file: A Python file that the user named to be run.
    """
    if not holds_more(str(file.parent)):
        return (str(file.parent),)
    try:
        beside = sorted(file.parent.iterdir())
    except OSError:
        return (str(file),)
    return (str(file), *(str(path) for path in beside if path.suffix == ".py" or has_modules(path)))


def whole_path(architecture: str) -> str:
    """``file.py:callable`` with the whole path of the file, for processes that work elsewhere; other names as given."""
    if ".py:" not in architecture:
        return architecture
    file, _, name = architecture.rpartition(":")
    return f"{Path(file).resolve()}:{name}"


def has_modules(folder: Path) -> bool:
    """Whether a folder holds a Python file, directly; False for what is no folder or cannot be listed."""
    try:
        return any(path.suffix == ".py" for path in folder.iterdir())
    except OSError:
        return False


def _package() -> Path:
    return Path(scanner.__file__).resolve().parent.parent


def holds_more(path: str) -> bool:
    """Whether a folder is a home, a checkout or the current directory, which hold more than modules."""
    real, package = Path(path).resolve(), _package()
    return any(
        Path(holder).resolve().is_relative_to(real)
        for holder in (Path.home(), Path.cwd(), package)
        # A wheel lies among other wheels; only a checkout holds what is no module.
        if holder != package or package.name not in ("site-packages", "dist-packages")
    )
