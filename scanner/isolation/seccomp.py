"""Seccomp: no sockets, no new processes or programs, and nothing of the kernel that loading a model has no use for.

A filter of this kind is a small program that the kernel runs on every system call. Forbidden calls fail with EPERM, so
that a library that merely tries one goes on.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

from scanner.isolation.kernel import machine, seccomp_number, system_call

# Numbers of the calls on x86-64 and AArch64 (asm/unistd_64.h and asm-generic/unistd.h); None where there is none.
_FORBIDDEN: Final[dict[str, tuple[int, int | None]]] = {
    # the network; io_uring would go around this filter
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # processes and programs; clone is looked at below
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "kcmp": (312, 272),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    # file systems and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "quotactl": (179, 60),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    # the kernel and the machine
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "acct": (163, 89),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "personality": (135, 92),
    "vhangup": (153, 58),
}
_CLONE: Final = (56, 220)
_CLONE3: Final = 435
_KILL: Final = (62, 129)
_TGKILL: Final = (234, 131)
_ARCHITECTURES: Final = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_CLONE_THREAD: Final = 0x10000
_X32_CALLS: Final = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_FAIL: Final = 0x00050000
_EPERM, _ENOSYS = 1, 38
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16

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
    return "sockets, new processes and programs, and calls that administer the system"


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
    for numbers in _FORBIDDEN.values():
        if (number := numbers[column]) is not None:
            code += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _FAIL | _EPERM)]
    # Its flags are in memory, which a filter cannot read; without it, the C library falls back to clone.
    code += [_instruction(_EQUAL, _CLONE3, 0, 1), _instruction(_RETURN, _FAIL | _ENOSYS)]
    code += _unless_argument(_CLONE[column], _instruction(_HAS_BITS, _CLONE_THREAD, 1, 0))
    for signal in (_KILL[column], _TGKILL[column]):
        code += _unless_argument(signal, _instruction(_EQUAL, process, 1, 0))
    code.append(_instruction(_RETURN, _ALLOW))
    return b"".join(code)


def _unless_argument(number: int, test: bytes) -> list[bytes]:
    """Forbid a call unless its first argument passes; the other calls go on with their number loaded."""
    return [
        _instruction(_EQUAL, number, 0, 4),
        _instruction(_LOAD, _FIRST_ARGUMENT_AT),
        test,
        _instruction(_RETURN, _FAIL | _EPERM),
        _instruction(_RETURN, _ALLOW),
    ]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
