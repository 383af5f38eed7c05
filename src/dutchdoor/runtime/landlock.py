"""Landlock: from here on this process reads a few named places and writes nowhere.

It also opens no TCP port, connects to none, reaches no abstract Unix socket and signals nobody
outside, where the kernel's version knows of it. Applies to the calling thread and its children:
call it before there is a second thread.
Source: landlock(7); linux/landlock.h; system call numbers are the same on all architectures.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from dutchdoor.errors import Unavailable

__all__ = ["confine", "landlock_version"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_FLAG_VERSION = 1
_RULE_PATH_BENEATH = 1

_READ_FILE = 1 << 2
_READ_DIRECTORY = 1 << 3
_WRITE_FILE = 1 << 1
_FS_FIRST = (1 << 13) - 1  # execute, read, write, and every way to make or remove a name
_FS_REFER = 1 << 13
_FS_TRUNCATE = 1 << 14
_FS_DEVICE_CONTROL = 1 << 15
_TCP_BIND_AND_CONNECT = 3
_SCOPE_ABSTRACT_SOCKET_AND_SIGNAL = 3


def landlock_version() -> int:
    """The kernel's Landlock version, 0 where it has none or it is off."""
    result = _call(_CREATE_RULESET, None, 0, _FLAG_VERSION)
    return max(result, 0)


def confine(readable: Iterable[Path], writable_files: Iterable[Path] = ()) -> int:
    """Confines this thread; gives the Landlock version it was done with.

    readable: files, and folders with all below them. What does not exist is left out.
    Raises Unavailable: the kernel has no Landlock.
    """
    version = landlock_version()
    if version == 0:
        message = "this kernel has no Landlock, or it is off"
        raise Unavailable(message, code="no_landlock", hint="boot with lsm=landlock,...")
    handled = _FS_FIRST
    for since, right in ((2, _FS_REFER), (3, _FS_TRUNCATE), (5, _FS_DEVICE_CONTROL)):
        handled |= right if version >= since else 0
    network = _TCP_BIND_AND_CONNECT if version >= 4 else 0
    scoped = _SCOPE_ABSTRACT_SOCKET_AND_SIGNAL if version >= 6 else 0
    attributes = struct.pack("=QQQ", handled, network, scoped)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _call(_CREATE_RULESET, ctypes.create_string_buffer(attributes, 24), size, 0)
    if ruleset < 0:
        raise _failed("make rules")
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE, _READ_DIRECTORY)
        for path in writable_files:
            _allow(ruleset, path, _READ_FILE | _WRITE_FILE, 0)
        if _call(_RESTRICT_SELF, ruleset, 0) != 0:
            raise _failed("restrict this process")
    finally:
        os.close(ruleset)
    return version


def _allow(ruleset: int, path: Path, file_rights: int, folder_rights: int) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
            rights = file_rights | (folder_rights if is_folder else 0)
            rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, handle), 12)
            if _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0) != 0:
                raise _failed(f"allow {path}")
        finally:
            os.close(handle)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(libc.syscall(ctypes.c_long(number), *given))


def _failed(what: str) -> Unavailable:
    reason = os.strerror(ctypes.get_errno())
    return Unavailable(f"Landlock could not {what}: {reason}", code="no_landlock")
