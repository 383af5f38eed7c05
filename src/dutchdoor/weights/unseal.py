"""Decrypting a file's slots, in order or by several threads, warm or cold, into given memory.

Slots are decrypted straight from a mapping of the file: nothing is copied. Behind the reader the
mapping's pages are let go, so that the process holds the model once and not twice; before it, a
file that is not in memory yet is asked for, so that the disk is never waited for slot by slot.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from dutchdoor.weights.arena import ArenaPool, advise
from dutchdoor.weights.folder import OpenFile, read_into, read_span, tampered
from dutchdoor.weights.format import SLOT_BYTES, FileCipher, Span

__all__ = ["ReadOptions", "SealedSlots", "read_index"]

_PAGE_BYTES = mmap.PAGESIZE
_WINDOW_SLOTS = 32  # Of the mapping that are resident at once, for each thread.
_AHEAD_SLOTS = 48  # Asked of a cold disk before they are needed.
_PROBES = 8  # Places at which it is looked whether a file is in memory.


@dataclass(frozen=True)
class ReadOptions:
    """How a bundle is read.

    threads: over the slots of one file; decryption runs without the interpreter's lock.
    private_copies: read each slot into private memory before it is decrypted, for a fifth more
    time. Without it the ciphertext is decrypted from a mapping, and who can write the file during
    the very call may disturb it: truncating it kills the process.
    arenas: where memory is taken from, to be used again; without it each reading takes its own.
    """

    threads: int = 1
    private_copies: bool = False
    arenas: ArenaPool | None = None


class SealedSlots(NamedTuple):
    """One sealed file whose key commitment has matched. name: of the sealed file."""

    name: str
    opened: OpenFile
    cipher: FileCipher

    def decrypt(self, slots: range, into: memoryview, options: ReadOptions) -> None:
        """The plain bytes of `slots` (consecutive), into memory of exactly their size.

        Raises Tampered: a slot was changed, or the file ends early; `into` may then hold anything
        and must not be shown to anybody.
        """
        header = self.opened.header
        base = header.plain(slots.start).offset
        assert len(into) == header.plain(slots[-1]).end - base, "memory of another size"
        cold = _is_cold(self.opened.handle, slots_span(self, slots))
        threads = max(1, min(options.threads, len(slots)))
        if cold:
            # One thread would decrypt while the disk rests, and rest while the disk reads.
            threads = max(threads, min(2, len(slots)))
        source = None if options.private_copies else _map(self)
        jobs = [_Job(self, part, source, into, base, cold) for part in _shares(slots, threads)]
        if threads == 1:
            jobs[0].run()
            return
        with ThreadPoolExecutor(threads, "unseal") as pool:
            # Every part is waited for, so that no thread writes to memory that is given up.
            for done in [pool.submit(job.run) for job in jobs]:
                done.result()

    def decrypt_one(self, number: int, into: memoryview) -> None:
        """One slot, read into private memory first. Raises as `decrypt` does."""
        sealed = read_span(self.opened.handle, self.opened.header.slot(number), self.name)
        self.open_slot(number, memoryview(sealed), into)

    def open_slot(self, number: int, sealed: memoryview, into: memoryview) -> None:
        """Verifies and decrypts one slot's bytes. Raises Tampered: they were changed."""
        if not self.cipher.open_slot(number, sealed, into):
            span = self.opened.header.slot(number)
            where = f"{self.name}, slot {number}, bytes {span.offset} to {span.end}"
            raise tampered(f"{self.name} was changed", "slot_changed", where)


class _Job(NamedTuple):
    """A thread's part of a file."""

    file: SealedSlots
    slots: range
    source: mmap.mmap | None
    into: memoryview
    base: int
    cold: bool

    def run(self) -> None:
        view = None if self.source is None else memoryview(self.source)
        header = self.file.opened.header
        scratch = memoryview(bytearray(header.slot(self.slots[0]).size if view is None else 0))
        handle = self.file.opened.handle
        if self.cold:
            for number in self.slots[:_AHEAD_SLOTS]:
                _ask_for(handle, header.slot(number))
        for position, number in enumerate(self.slots):
            span, plain = header.slot(number), header.plain(number)
            if self.cold and position + _AHEAD_SLOTS < len(self.slots):
                _ask_for(handle, header.slot(number + _AHEAD_SLOTS))
            if view is not None:
                sealed = view[span.offset : span.end]
            else:
                sealed = scratch[: span.size]
                read_into(handle, span, sealed, self.file.name)
            into = self.into[plain.offset - self.base : plain.end - self.base]
            self.file.open_slot(number, sealed, into)
            if self.source is not None and position % _WINDOW_SLOTS == _WINDOW_SLOTS - 1:
                self._let_go(header.slot(number - _WINDOW_SLOTS + 1).offset, span.end)

    def _let_go(self, begin: int, end: int) -> None:
        assert self.source is not None
        start = -(-begin // _PAGE_BYTES) * _PAGE_BYTES
        size = end // _PAGE_BYTES * _PAGE_BYTES - start
        if size > 0:
            advise(self.source, "MADV_DONTNEED", start, size)


def slots_span(file: SealedSlots, slots: Sequence[int]) -> Span:
    """Where consecutive slots lie in the sealed file."""
    header = file.opened.header
    start = header.slot(slots[0]).offset
    return Span(start, header.slot(slots[-1]).end - start)


def read_index(file: SealedSlots) -> bytes:
    """The index's plain bytes. Raises Tampered: it was changed."""
    span = file.opened.header.index
    plain = file.cipher.open_index(read_span(file.opened.handle, span, file.name))
    if plain is None:
        where = f"{file.name}, bytes {span.offset} to {span.end}"
        raise tampered(f"the index of {file.name} was changed", "index_changed", where)
    return plain


def _shares(slots: range, threads: int) -> list[range]:
    bounds = [slots.start + len(slots) * part // threads for part in range(threads + 1)]
    return [range(start, stop) for start, stop in pairwise(bounds)]


def _map(file: SealedSlots) -> mmap.mmap:
    size = file.opened.header.footer.end
    try:
        source = mmap.mmap(file.opened.handle, size, mmap.MAP_SHARED, mmap.PROT_READ)
    except (OSError, ValueError) as error:
        # The file is shorter than it was when it was opened.
        raise tampered(f"{file.name} ends early", "size_changed", file.name) from error
    return source


def _is_cold(handle: int, span: Span) -> bool:
    """Whether a stretch of a file is likely not in the page cache."""
    if span.size < SLOT_BYTES:
        return False
    byte = [bytearray(1)]
    try:
        for probe in range(_PROBES):
            os.preadv(handle, byte, span.offset + span.size * probe // _PROBES, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except (OSError, AttributeError):
        # Not every file system can say; then nothing is asked for in advance.
        return False
    return False


def _ask_for(handle: int, span: Span) -> None:
    os.posix_fadvise(handle, span.offset, span.size, os.POSIX_FADV_WILLNEED)
