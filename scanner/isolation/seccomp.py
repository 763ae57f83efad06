"""Seccomp: no sockets, no new processes or programs, and nothing of the kernel that loading a model has no use for.

A filter of this kind is a small program that the kernel runs on every system call. Forbidden calls fail with EPERM, so
that a library that merely tries one goes on.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

from scanner.isolation import calls
from scanner.isolation.kernel import machine, seccomp_number, system_call

_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_X32_CALLS: Final = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_FAIL: Final = 0x00050000
_EPERM, _ENOSYS = 1, 38
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4
_ARGUMENTS_AT: Final = (16, 24)
"""Where the first two arguments lie, the lower half of each first."""

_SET_MODE_FILTER: Final = 1
_ALL_THREADS: Final = 1


def forbid() -> str:
    """Forbid this process the calls above, for good. ``no_new_privs`` has to be set.

    Returns:
        What was forbidden.

    Raises:
        Unavailable: Not an architecture that this is written for.
        OSError: The kernel does not have seccomp filters or refuses.
    """
    code = program(machine(), os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_program = struct.pack("=H6xQ", len(code) // 8, ctypes.addressof(buffer))
    system_call(seccomp_number(), ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(_ALL_THREADS), filter_program)
    return "sockets, new processes and programs, others' files and processes, and calls that administer the system"


def program(architecture: str, process: int) -> bytes:
    """The filter as instructions for the kernel's packet-filter machine, 8 bytes each.

    Args:
        architecture: ``x86_64`` or ``aarch64``.
        process: Number of the process, the only one that may be sent signals.
    """
    column, audit = _ARCHITECTURES[architecture]
    code = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        _instruction(_EQUAL, audit, 1, 0),
        _instruction(_RETURN, _KILL_PROCESS),
        _instruction(_LOAD, _NUMBER_AT),
    ]
    if architecture == "x86_64":  # the calls of the x32 variant, numbered apart
        code += [_instruction(_AT_LEAST, _X32_CALLS, 0, 1), _instruction(_RETURN, _FAIL | _EPERM)]
    for numbers in calls.FORBIDDEN.values():
        if (number := numbers[column]) is not None:
            code += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _FAIL | _EPERM)]
    # Its flags are in memory, which a filter cannot read; without it, the C library falls back to clone.
    code += [_instruction(_EQUAL, calls.CLONE3, 0, 1), _instruction(_RETURN, _FAIL | _ENOSYS)]
    code += _where(calls.CLONE[column], 0, [_instruction(_HAS_BITS, calls.CLONE_THREAD, 1, 0)])
    for signal in (calls.KILL[column], calls.TGKILL[column]):
        code += _where(signal, 0, _any(_EQUAL, process))
    # Zero is the calling process.
    for own in (calls.PRLIMIT[column], calls.SCHED_SETAFFINITY[column]):
        code += _where(own, 0, _any(_EQUAL, 0, process))
    code += _where(calls.PRCTL[column], 0, _none(*calls.END_WITH_PARENT))
    code += _where(calls.FCNTL[column], 1, _none(*calls.OWNERS_AND_WATCHES))
    code += _where(calls.IOCTL[column], 1, _none(*calls.TERMINALS))
    code.append(_instruction(_RETURN, _ALLOW))
    return b"".join(code)


def _where(number: int, argument: int, tests: list[bytes]) -> list[bytes]:
    """Forbid a call unless an argument passes; the other calls go on with their number loaded.

    The tests end by going on to the next instruction where the call is forbidden, and past it where it is allowed.
    """
    return [
        _instruction(_EQUAL, number, 0, len(tests) + 3),
        _instruction(_LOAD, _ARGUMENTS_AT[argument]),
        *tests,
        _instruction(_RETURN, _FAIL | _EPERM),
        _instruction(_RETURN, _ALLOW),
    ]


def _any(kind: int, *values: int) -> list[bytes]:
    """Whether what is loaded is one of these."""
    return [_instruction(kind, value, len(values) - place, 0) for place, value in enumerate(values)]


def _none(*values: int) -> list[bytes]:
    """Whether what is loaded is none of these: then the last of the tests skips the refusal."""
    last = len(values) - 1
    return [_instruction(_EQUAL, value, last - place, int(place == last)) for place, value in enumerate(values)]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
