"""What the process gives up: its network, its memory's way to the disk, and root's privileges.

By system call, so that no library is needed. Call these before there is a second thread: the kernel
lets only a process of one thread into another user namespace.
Source: unshare(2); user_namespaces(7), "Defining user and group ID mappings"; mlockall(2);
capset(2); linux/capability.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import resource
from pathlib import Path

from dutchdoor.errors import Unavailable

__all__ = ["drop_capabilities", "enter_own_network", "lock_memory"]

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_MCL_CURRENT, _MCL_FUTURE, _MCL_ON_FAULT = 1, 2, 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_IPC_LOCK = 14
_PROBE_BYTES = 64 << 20
_NETWORK = Path("/proc/self/ns/net")


def enter_own_network() -> None:
    """A network of its own with nothing in it, not even a loopback that is up.

    With the right to it directly, else inside a user namespace that maps this user to itself.
    Sockets that are open already stay what they are.
    Raises Unavailable: the kernel, or whoever runs this container, does not let us.
    """
    before = _NETWORK.readlink()
    # Read first: in a namespace without a map everybody is nobody.
    user, group = os.geteuid(), os.getegid()
    try:
        _unshare(_CLONE_NEWNET)
    except OSError:
        try:
            _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
            # Without this the group list could be dropped, which may open files that deny a group.
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        except OSError as error:
            message = f"no network namespace of its own: {error.strerror}"
            hint = "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, "
            hint += "kernel.apparmor_restrict_unprivileged_userns, user.max_user_namespaces)"
            raise Unavailable(message, code="no_namespace", hint=hint) from error
    if _NETWORK.readlink() == before:
        raise Unavailable("the network is the same as before", code="no_namespace")


def lock_memory() -> None:
    """Nothing of this process is written to swap: pages stay in memory once they are used.

    Raises Unavailable: the limit on locked memory is not unlimited, and there is no right to go
    beyond it. A lower one is not enough: weights are larger, and would fail to load later.
    """
    limit = _raise_limit()
    libc = ctypes.CDLL(None, use_errno=True)
    # On fault: else the whole of every library would be read in, used or not.
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ON_FAULT) != 0:
        raise _not_locked(limit)
    if limit == resource.RLIM_INFINITY:
        return
    try:
        # What is mapped from now on counts, touched or not: so this shows whether we may go beyond.
        mmap.mmap(-1, limit + _PROBE_BYTES).close()
    except (OSError, ValueError, OverflowError) as error:
        libc.munlockall()
        raise _not_locked(limit) from error


def _raise_limit() -> int:
    unlimited = resource.RLIM_INFINITY
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (unlimited, unlimited))
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]


def _not_locked(limit: int) -> Unavailable:
    message = f"the limit on locked memory is {limit} bytes"
    hint = "raise it to unlimited (LimitMEMLOCK=infinity, ulimit -l), or turn swap off"
    return Unavailable(message, code="no_memory_lock", hint=hint)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def drop_capabilities(*, keep_lock: bool = False) -> None:
    """No capability is left, also where root runs this; they cannot be had again without a new
    program, and no new program can be run.

    keep_lock: keep the right to lock memory, which gives nothing else.
    Raises Unavailable: the kernel does not take them away.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(_CAPABILITY_VERSION_3, 0), (_Data * 2)()
    libc.capget(ctypes.byref(header), data)
    kept = 1 << _CAP_IPC_LOCK if keep_lock else 0
    left = [data[0].permitted & kept, 0]
    for part, bits in zip(data, left, strict=True):
        part.effective = part.permitted = bits
        part.inheritable = 0
    if libc.capset(ctypes.byref(header), data) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise Unavailable(f"capabilities stay: {reason}", code="no_capset")
    held = (_Data * 2)()
    libc.capget(ctypes.byref(header), held)
    if [part.effective | part.permitted for part in held] != left:
        raise Unavailable("capabilities stay", code="no_capset")


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
