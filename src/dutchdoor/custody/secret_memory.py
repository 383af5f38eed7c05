"""Memory for a few secret bytes: out of reach of other processes, of swap, and of core dumps.

`memfd_secret` takes the pages out of the kernel's own map: not even root reads them through
`/proc/PID/mem`, and they are never swapped. Where the kernel or a limit says no, memory is locked
and left out of dumps; where that is refused too, it is ordinary memory. `kind` says which.
Source: memfd_secret(2), system call 447 on all architectures; madvise(2); mlock(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os

__all__ = ["SecretMemory"]

_MEMFD_SECRET = 447
_PAGE = mmap.PAGESIZE


class SecretMemory:
    """So many bytes, zero at first; wiped, and the pages given back, once nobody looks at them.

    kind: `secret` (memfd_secret), `locked`, or `plain`.
    """

    __slots__ = ("_map", "kind", "view")

    def __init__(self, size: int) -> None:
        assert size > 0, "no secret is empty"
        whole = -(-size // _PAGE) * _PAGE
        found = _secret(whole)
        self.kind = "secret"
        if found is None:
            found = _Pages(-1, whole, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self.kind = "locked" if _lock(found, whole) else "plain"
        # A child made by fork would be a second place that holds the secret.
        for advice in ("MADV_DONTFORK", "MADV_DONTDUMP"):
            with contextlib.suppress(OSError, AttributeError):
                found.madvise(getattr(mmap, advice))
        self._map = found
        self.view = memoryview(found)[:size]

    def wipe(self) -> None:
        """Overwrite every byte with zero."""
        self.view[:] = bytes(len(self.view))


class _Pages(mmap.mmap):
    """Whole pages, wiped when nobody looks at them any more: every view keeps them alive."""

    def __del__(self) -> None:
        # Not made to the end, or closed at the interpreter's own end.
        with contextlib.suppress(ValueError, BufferError, TypeError):
            self[:] = bytes(len(self))


def _secret(size: int) -> _Pages | None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    handle = libc.syscall(ctypes.c_long(_MEMFD_SECRET), ctypes.c_long(os.O_CLOEXEC))
    if handle < 0:
        return None
    try:
        os.ftruncate(handle, size)
        found = _Pages(handle, size, mmap.MAP_SHARED)
    except (OSError, ValueError):
        return None
    finally:
        os.close(handle)
    return found


def _lock(found: _Pages, size: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.addressof(ctypes.c_char.from_buffer(found))
    return int(libc.mlock(ctypes.c_void_p(address), ctypes.c_size_t(size))) == 0
