"""A system call filter in the kernel's own byte code, so that no library is needed for it.

Everything is allowed but what could reach another process, the network, or another program, undo
the hardening, or go around this filter. Refused calls fail with EPERM, calls of a foreign
architecture end the process. Once installed, it holds for all threads until the process ends.
Source: seccomp(2); linux/filter.h; linux/seccomp.h; linux/audit.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import NamedTuple

from dutchdoor.errors import Unavailable

__all__ = ["FILTER_ARCHITECTURES", "compile_filter", "install_filter"]

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_SET = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K

_ALLOW = 0x7FFF0000
_KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000
_PR_SET_SECCOMP = 22
_SET_MODE_FILTER = 1
_FLAG_ALL_THREADS = 1

_CLONE_THREAD = 0x00010000
_PR_SET_DUMPABLE = 4
_PR_SET_PTRACER = 0x59616D61
_SOCK_STREAM = 1
_SOCK_TYPE_MASK = 0xF
_X32_BIT = 0x40000000

_OFFSET_NUMBER, _OFFSET_ARCHITECTURE = 0, 4


class _Architecture(NamedTuple):
    audit: int
    numbers: dict[str, int]


# Refused whatever their arguments. Numbers: asm/unistd_64.h, asm-generic/unistd.h. Not listen:
# event loops call it on the inherited socket again, and without socket and bind there is no other.
_X86_64 = {
    "socket": 41, "connect": 42, "bind": 49, "sendmmsg": 307,
    "execve": 59, "execveat": 322, "fork": 57, "vfork": 58,
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "pidfd_getfd": 438, "process_madvise": 440, "open_by_handle_at": 304,
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "move_mount": 429,
    "open_tree": 428, "fsopen": 430, "mount_setattr": 442, "unshare": 272, "setns": 308,
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "add_key": 248, "request_key": 249, "keyctl": 250,
    "init_module": 175, "finit_module": 313, "delete_module": 176,
    "kexec_load": 246, "kexec_file_load": 320, "reboot": 169, "swapon": 167, "swapoff": 168,
    "iopl": 172, "ioperm": 173, "setrlimit": 160,
    "shmget": 29, "shmat": 30, "msgget": 68, "semget": 64, "mq_open": 240,
    "vmsplice": 278, "personality": 135, "acct": 163, "quotactl": 179,
}  # fmt: skip
_AARCH64 = {
    "socket": 198, "connect": 203, "bind": 200, "sendmmsg": 269,
    "execve": 221, "execveat": 281,
    "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
    "pidfd_getfd": 438, "process_madvise": 440, "open_by_handle_at": 265,
    "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "move_mount": 429,
    "open_tree": 428, "fsopen": 430, "mount_setattr": 442, "unshare": 97, "setns": 268,
    "bpf": 280, "perf_event_open": 241, "userfaultfd": 282,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "add_key": 217, "request_key": 218, "keyctl": 219,
    "init_module": 105, "finit_module": 273, "delete_module": 106,
    "kexec_load": 104, "kexec_file_load": 294, "reboot": 142, "swapon": 224, "swapoff": 225,
    "setrlimit": 164,
    "shmget": 194, "shmat": 196, "msgget": 186, "semget": 190, "mq_open": 180,
    "vmsplice": 75, "personality": 92, "acct": 89, "quotactl": 60,
}  # fmt: skip

# Refused or not by their arguments, and the call that installs the filter.
_SPECIAL = {
    "x86_64": {
        "clone": 56, "clone3": 435, "prctl": 157, "prlimit64": 302,
        "socketpair": 53, "sendto": 44, "seccomp": 317,
    },
    "aarch64": {
        "clone": 220, "clone3": 435, "prctl": 167, "prlimit64": 261,
        "socketpair": 199, "sendto": 206, "seccomp": 277,
    },
}  # fmt: skip

FILTER_ARCHITECTURES: dict[str, _Architecture] = {
    "x86_64": _Architecture(0xC000003E, _X86_64),
    "aarch64": _Architecture(0xC00000B7, _AARCH64),
}


def _code(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, k)


def _refuse(error: int = errno.EPERM) -> bytes:
    return _code(_RETURN, _ERRNO | error)


def _low(argument: int) -> int:
    """Where the low 32 bits of an argument lie: seccomp_data.args, little-endian machines."""
    return 16 + 8 * argument


def _for_call(number: int, body: list[bytes]) -> list[bytes]:
    """`body` for one system call; it must not fall through. Others skip it."""
    return [_code(_JUMP_EQUAL, number, 0, len(body)), *body]


def compile_filter(machine: str) -> bytes:
    """The filter's instructions for `machine`, 8 bytes each.

    Raises Unavailable: no system call numbers are known for this machine.
    """
    if machine not in FILTER_ARCHITECTURES:
        message = f"no system call filter is known for {machine}"
        raise Unavailable(message, code="no_seccomp", hint="run on x86_64 or aarch64")
    architecture, special = FILTER_ARCHITECTURES[machine], _SPECIAL[machine]
    allow, kill = _code(_RETURN, _ALLOW), _code(_RETURN, _KILL_PROCESS)
    code = [
        _code(_LOAD, _OFFSET_ARCHITECTURE),
        _code(_JUMP_EQUAL, architecture.audit, 1, 0),
        kill,
        _code(_LOAD, _OFFSET_NUMBER),
    ]
    if machine == "x86_64":
        # The x32 numbers name the same calls a second time.
        code += [_code(_JUMP_SET, _X32_BIT, 0, 1), kill]
    for number in sorted(set(architecture.numbers.values())):
        code += _for_call(number, [_refuse()])
    # Threads, but no processes: a child would be a second copy of the weights.
    code += _for_call(
        special["clone"],
        [_code(_LOAD, _low(0)), _code(_JUMP_SET, _CLONE_THREAD, 0, 1), allow, _refuse()],
    )
    # Its flags lie in memory that a filter cannot read; the C library falls back to clone.
    code += _for_call(special["clone3"], [_refuse(errno.ENOSYS)])
    code += _for_call(
        special["prctl"],
        [
            _code(_LOAD, _low(0)),
            _code(_JUMP_EQUAL, _PR_SET_DUMPABLE, 1, 0),
            _code(_JUMP_EQUAL, _PR_SET_PTRACER, 0, 1),
            _refuse(),
            allow,
        ],
    )
    # Reading limits has no new limit: a null pointer, in both halves.
    code += _for_call(special["prlimit64"], _only_null(2))
    # Event loops need a pair; a datagram pair could be sent to any named socket.
    code += _for_call(
        special["socketpair"],
        [
            _code(_LOAD, _low(1)),
            _code(_AND, _SOCK_TYPE_MASK),
            _code(_JUMP_EQUAL, _SOCK_STREAM, 0, 1),
            allow,
            _refuse(),
        ],
    )
    code += _for_call(special["sendto"], _only_null(4))
    return b"".join([*code, allow])


def _only_null(argument: int) -> list[bytes]:
    return [
        _code(_LOAD, _low(argument)),
        _code(_JUMP_EQUAL, 0, 0, 3),
        _code(_LOAD, _low(argument) + 4),
        _code(_JUMP_EQUAL, 0, 0, 1),
        _code(_RETURN, _ALLOW),
        _refuse(),
    ]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def install_filter() -> None:
    """Installs the filter in all threads. Needs no_new_privileges, or root.

    Raises Unavailable: the kernel or the machine has none.
    """
    machine = platform.machine()
    data = compile_filter(machine)
    code = ctypes.create_string_buffer(data, len(data))
    program = _Program(len(data) // 8, ctypes.cast(code, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SPECIAL[machine]["seccomp"]
    arguments = (ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(_FLAG_ALL_THREADS))
    if libc.syscall(ctypes.c_long(number), *arguments, ctypes.byref(program)) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise Unavailable(f"the kernel takes no system call filter: {reason}", code="no_seccomp")
