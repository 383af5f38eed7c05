"""Decrypting a file's slots, in order or by several threads, warm or cold, into given memory.

Slots are decrypted straight from a mapping of the file: nothing is copied. Behind the reader the
mapping's pages are let go, so that the process holds the model once and not twice. A file that is
not in memory yet is read in order by a thread of its own: the disk rests while nothing is decrypted
no more than decryption waits for the disk.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from dutchdoor.weights.arena import ArenaPool, advise, new_arena
from dutchdoor.weights.folder import OpenFile, read_into, read_span, tampered
from dutchdoor.weights.format import SLOT_BYTES, FileCipher, Span

__all__ = ["ReadOptions", "SealedSlots", "read_index"]

_PAGE_BYTES = mmap.PAGESIZE
_WINDOW_SLOTS_MAX = 32  # Of the mapping that are resident at once, over all threads.
_WINDOW_SLOTS_MIN = 8  # Letting go of less costs more than it gives back.
_WINDOW_PARTS = 20  # Between the two, one part of the mapping in so many.
_BATCH_SLOTS = 4  # Read from a cold disk at once.
_BATCHES_AHEAD = 3
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
        threads = max(1, min(options.threads, len(slots)))
        if _is_cold(self.opened.handle, _slots_span(self, slots)):
            _Job(self, slots, None, into, base, 0).run_cold()
            return
        source = None if options.private_copies else _map(self)
        parts = max(_WINDOW_SLOTS_MIN, min(_WINDOW_SLOTS_MAX, len(slots) // _WINDOW_PARTS))
        window = max(1, parts // threads)
        jobs = [_Job(self, p, source, into, base, window) for p in _shares(slots, threads)]
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
    window: int

    def run(self) -> None:
        """Decrypts slot by slot, from the mapping or else through private memory."""
        view = None if self.source is None else memoryview(self.source)
        header, handle = self.file.opened.header, self.file.opened.handle
        scratch = memoryview(bytearray(header.slot(self.slots[0]).size if view is None else 0))
        for position, number in enumerate(self.slots):
            span = header.slot(number)
            if view is not None:
                sealed = view[span.offset : span.end]
            else:
                sealed = scratch[: span.size]
                read_into(handle, span, sealed, self.file.name)
            self._open(number, sealed)
            if self.source is not None and position % self.window == self.window - 1:
                self._let_go(header.slot(number - self.window + 1).offset, span.end)

    def run_cold(self) -> None:
        """Decrypts one batch while the next ones are read."""
        firsts = self.slots[::_BATCH_SLOTS]
        buffers = [memoryview(new_arena(_BATCH_SLOTS * SLOT_BYTES)) for _ in range(_BATCHES_AHEAD)]
        reads: list[Future[None]] = []
        with ThreadPoolExecutor(1, "unseal-read") as reader:
            for place, first in enumerate(firsts[:_BATCHES_AHEAD]):
                reads.append(reader.submit(self._read_batch, first, buffers[place]))
            for place, first in enumerate(firsts):
                reads[place].result()
                buffer = buffers[place % _BATCHES_AHEAD]
                begin = self.file.opened.header.slot(first).offset
                for number in self._batch(first):
                    span = self.file.opened.header.slot(number)
                    self._open(number, buffer[span.offset - begin : span.end - begin])
                if place + _BATCHES_AHEAD < len(firsts):
                    following = firsts[place + _BATCHES_AHEAD]
                    reads.append(reader.submit(self._read_batch, following, buffer))

    def _batch(self, first: int) -> range:
        return range(first, min(first + _BATCH_SLOTS, self.slots.stop))

    def _read_batch(self, first: int, into: memoryview) -> None:
        span = _slots_span(self.file, self._batch(first))
        read_into(self.file.opened.handle, span, into[: span.size], self.file.name)

    def _open(self, number: int, sealed: memoryview) -> None:
        plain = self.file.opened.header.plain(number)
        into = self.into[plain.offset - self.base : plain.end - self.base]
        self.file.open_slot(number, sealed, into)

    def _let_go(self, begin: int, end: int) -> None:
        assert self.source is not None
        start = -(-begin // _PAGE_BYTES) * _PAGE_BYTES
        size = end // _PAGE_BYTES * _PAGE_BYTES - start
        if size > 0:
            advise(self.source, "MADV_DONTNEED", start, size)


def _slots_span(file: SealedSlots, slots: Sequence[int]) -> Span:
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
