"""Calls to the Linux kernel that Python's standard library has no function for.

Wrappers of these interfaces on the package index are pre-releases, months old, or need a C library of the system;
a few calls are less to trust than any of them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_NO_NEW_PRIVS: Final = 38

# The numbers of system calls that came after 5.1 are the same on every architecture.
LANDLOCK_CREATE_RULESET: Final = 444
LANDLOCK_ADD_RULE: Final = 445
LANDLOCK_RESTRICT_SELF: Final = 446

_CAPSET: Final = {"x86_64": 126, "aarch64": 91}
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}


class Unavailable(Exception):
    """The kernel, the machine or a container's rules do not allow a layer of isolation; says why."""


def machine() -> str:
    """The architecture whose system calls this process makes.

    Raises:
        Unavailable: Not Linux on x86-64 or AArch64.
    """
    name = platform.machine()
    if sys.platform != "linux":
        raise Unavailable("only Linux has it")
    if name not in _SECCOMP or sys.maxsize < 2**32:
        raise Unavailable(f"not written for {name}")
    return name


def system_call(number: int, *arguments: object) -> int:
    """Make a system call.

    Raises:
        OSError: It failed.
    """
    # By the C library that Python itself runs on.
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    result = library.syscall(ctypes.c_long(number), *arguments)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def prctl(option: int, value: int) -> None:
    """Set a property of this process.

    Raises:
        OSError: It failed.
    """
    library = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(number) for number in (value, 0, 0, 0)]
    if library.prctl(ctypes.c_int(option), *arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def unshare(flags: int) -> None:
    """Move this process into new namespaces.

    Raises:
        OSError: It failed.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(ctypes.c_int(flags)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def seccomp_number() -> int:
    """Number of the system call ``seccomp``."""
    return _SECCOMP[machine()]


def set_capabilities(kept: int) -> None:
    """Give up all capabilities but those of a bit mask, for good.

    Raises:
        OSError: It failed.
    """
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    low, high = kept & 0xFFFFFFFF, kept >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    system_call(_CAPSET[machine()], ctypes.byref(header), ctypes.byref(data))


def reason(error: OSError) -> str:
    """Why the kernel refused, for a sentence."""
    if error.errno == errno.ENOSYS:
        return "this kernel does not have it, or a container's rules hide it"
    if error.errno in (errno.EPERM, errno.EACCES):
        return "not permitted here"
    if error.errno in (errno.ENOSPC, errno.EUSERS):
        return "this system allows no more of them"
    if error.errno == errno.EOPNOTSUPP:
        return "switched off in this kernel"
    return error.strerror or "it failed"
