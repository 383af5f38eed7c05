"""Memory that plaintext is decrypted into: anonymous, in huge pages, out of dumps and children.

A first touch of ordinary pages costs six times what decrypting costs, so that arenas ask for huge
ones, and a pool keeps those that nobody looks at any more: memory that was touched once is filled
twice as fast as fresh memory.
"""

from __future__ import annotations

import contextlib
import mmap
import threading

__all__ = ["ArenaPool", "advise", "new_arena"]

ARENAS_KEPT_MAX = 4_096


def new_arena(size: int) -> mmap.mmap:
    """Fresh anonymous memory of at least `size` bytes, all zeros."""
    arena = mmap.mmap(-1, max(size, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    advise(arena, "MADV_HUGEPAGE")
    advise(arena, "MADV_DONTDUMP")
    advise(arena, "MADV_DONTFORK")
    return arena


class ArenaPool:
    """Arenas for loading again and again, such as after a swap of models.

    An arena is used again once no view of it is left: who keeps a tensor keeps its memory. Safe to
    use from several threads. What an arena held stays in this process's memory until it is filled
    again or the pool is cleared; it never leaves the process.
    """

    def __init__(self) -> None:
        self._arenas: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def take(self, size: int) -> memoryview:
        """`size` bytes of memory that nobody else looks at; what they hold is unspecified."""
        with self._lock:
            fitting = [arena for arena in self._arenas if _fits(arena, size)]
            for arena in sorted(fitting, key=len):
                if not _is_watched(arena):
                    return memoryview(arena)[:size]
            arena = new_arena(size)
            if len(self._arenas) < ARENAS_KEPT_MAX:
                self._arenas.append(arena)
            return memoryview(arena)[:size]

    def clear(self) -> None:
        """Gives back all memory that nobody looks at."""
        with self._lock:
            self._arenas = [arena for arena in self._arenas if _is_watched(arena)]


def advise(memory: mmap.mmap, advice: str, start: int = 0, size: int | None = None) -> None:
    """Tells the kernel; advice that it does not know changes speed and dumps alone.

    start: a multiple of the page size.
    """
    with contextlib.suppress(OSError, AttributeError):
        number = getattr(mmap, advice)
        memory.madvise(number, start, len(memory) - start if size is None else size)


def _fits(arena: mmap.mmap, size: int) -> bool:
    # A much larger arena is left for what needs it.
    return size <= len(arena) <= max(2 * size, size + (1 << 21))


def _is_watched(arena: mmap.mmap) -> bool:
    """Whether a view of the arena is left anywhere: a memoryview, an array, a tensor."""
    try:
        # To its own size: it does nothing, and is refused while there are views.
        arena.resize(len(arena))
    except (BufferError, ValueError, SystemError, OSError):
        return True
    return False
