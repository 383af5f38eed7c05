"""Sealing one file: from a mapping of the plain one, slot by slot, past the page cache.

A slot is encrypted, digested and written; nothing else is copied. What is written goes to the disk
directly where the file system can: it has to be there anyhow before the bundle may appear, and a
large model would push everything else out of memory.

Going on with a file that was broken off, every slot that is there already is made again and
compared with what the disk holds. Only past its end is anything written. So no nonce is ever used
for two plaintexts, even where the plain file has changed: what differs starts anew under a fresh
salt.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from dutchdoor import canonical
from dutchdoor.custody.model import ContentKey
from dutchdoor.errors import DutchdoorError, Invalid
from dutchdoor.weights.arena import advise, new_arena
from dutchdoor.weights.format import (
    ALIGNMENT_BYTES,
    HEAD_BYTES_MAX,
    SLOT_BYTES,
    TAG_BYTES,
    FileCipher,
    Header,
    Index,
    encode_head,
    new_header,
    parse_head,
    region_digest,
)
from dutchdoor.weights.model import Progress, Report, SealedFile, sealed_name
from dutchdoor.weights.scan import SourceFile, read_safetensors_header

__all__ = ["Randomness", "SealRun", "seal_file"]

_BATCH_SLOTS = 4  # Written at once; while one batch is written, the next is encrypted.

Randomness = Callable[[int], bytes]


@dataclass
class SealRun:
    """What one sealing carries from file to file."""

    key: ContentKey
    content_id: str
    random_bytes: Randomness
    report: Report
    total_bytes: int
    writer: ThreadPoolExecutor
    resumes: bool = False
    done_bytes: int = 0
    indices: list[Index] = field(default_factory=list)


class _Differs(Exception):
    """What lies on the disk is not the beginning of what would be written."""


class _Job(NamedTuple):
    """One file on its way. plain: the open source. hidden: what the index will say."""

    run: SealRun
    source: SourceFile
    plain: int
    hidden: Index
    header: Header


def seal_file(run: SealRun, folder: Path, number: int, source: SourceFile) -> SealedFile:
    """`source` sealed into `folder` under the name of its number.

    Raises Invalid: broken safetensors, or the file changed meanwhile. Raises OSError: the disk.
    """
    path = folder / sealed_name(number)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    with os.fdopen(os.open(source.path, flags), "rb", buffering=0) as plain:
        index = Index(source.name, source.size, read_safetensors_header(plain, source))
        index_bytes = len(index.encode()) + TAG_BYTES
        header = _begun_header(run, path, number, source, index_bytes) if run.resumes else None
        done_bytes = run.done_bytes
        if header is not None:
            try:
                return _seal(_Job(run, source, plain.fileno(), index, header), path)
            except _Differs:
                run.done_bytes = done_bytes
        path.unlink(missing_ok=True)
        header = new_header(
            content_id=run.content_id,
            file=number,
            size=source.size,
            index_bytes=index_bytes,
            salt=run.random_bytes(32),
            prefix=run.random_bytes(7),
        )
        return _seal(_Job(run, source, plain.fileno(), index, header), path)


def _seal(job: _Job, path: Path) -> SealedFile:
    run, header = job.run, job.header
    cipher = FileCipher(run.key, header)
    digest = region_digest(header.version)
    head = encode_head(header, cipher.commitment)
    index = cipher.seal_index(job.hidden.encode())
    with _Output(path) as output:
        output.put(0, _aligned_copy(head + index))
        digests = [digest(head), digest(index), *_seal_slots(job, cipher, output)]
        footer = b"".join(digests)
        output.put(header.footer.offset, memoryview(footer))
        output.finish(header.footer.end)
    check_unchanged(job.plain, job.source)
    run.indices.append(job.hidden)
    return SealedFile(
        name=path.name,
        bytes=header.footer.end,
        head="sha256:" + canonical.sha256_hex(head),
        slots=header.slots,
        ciphertext="sha256:" + canonical.sha256_hex(footer),
    )


def _seal_slots(job: _Job, cipher: FileCipher, output: _Output) -> list[bytes]:
    header = job.header
    source, view = _map_plain(job)
    halves = [memoryview(new_arena(min(_BATCH_SLOTS, header.slots) * SLOT_BYTES)) for _ in range(2)]
    pending: list[Future[None]] = []
    digests: list[bytes] = []
    try:
        for first in range(0, header.slots, _BATCH_SLOTS):
            if len(pending) >= 2:
                pending[-2].result()  # The memory is free only once it has been written.
            slots = range(first, min(first + _BATCH_SLOTS, header.slots))
            batch = _seal_batch(job, cipher, slots, view, halves[len(pending) % 2])
            digests += batch.digests
            if source is not None:
                # Or the whole model would count as this process's memory.
                start = header.plain(first).offset // mmap.PAGESIZE * mmap.PAGESIZE
                advise(source, "MADV_DONTNEED", start, header.plain(slots[-1]).end - start)
            offset = header.slot(first).offset
            pending.append(job.run.writer.submit(output.put, offset, batch.sealed))
    finally:
        # Nothing may be written once the file is closed: its descriptor may be another's by then.
        wait(pending)
    for written in pending:
        written.result()
    return digests


class _Batch(NamedTuple):
    sealed: memoryview
    digests: list[bytes]


def _seal_batch(
    job: _Job, cipher: FileCipher, slots: range, plain: memoryview, into: memoryview
) -> _Batch:
    run, header = job.run, job.header
    digest = region_digest(header.version)
    digests, filled = [], 0
    for number in slots:
        check_unchanged(job.plain, job.source)
        span = header.plain(number)
        sealed = into[filled : filled + span.size + TAG_BYTES]
        cipher.seal_slot(number, plain[span.offset : span.end], sealed)
        digests.append(digest(sealed))
        filled += len(sealed)
        run.done_bytes += span.size
        run.report(Progress(job.source.name, run.done_bytes, run.total_bytes))
    return _Batch(into[:filled], digests)


class _Output:
    """A sealed file as it is written, or compared where it is there already."""

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._handle = os.open(path, flags, 0o644)
        self._begun = os.fstat(self._handle).st_size
        self._direct = False
        self._can_be_direct = hasattr(os, "O_DIRECT")

    def put(self, offset: int, data: memoryview) -> None:
        """Writes what the disk does not have; raises _Differs where it has something else."""
        known = min(max(self._begun - offset, 0), len(data))
        if known and self._read(offset, known) != data[:known]:
            raise _Differs
        if known == len(data):
            return
        whole_pages = not (offset % ALIGNMENT_BYTES or len(data) % ALIGNMENT_BYTES)
        self._set_direct(whole_pages and len(data) >= SLOT_BYTES)
        done = 0
        while done < len(data):
            try:
                done += os.pwrite(self._handle, data[done:], offset + done)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                self._can_be_direct = False
                self._set_direct(wanted=False)

    def finish(self, size: int) -> None:
        """Makes durable what was written. Raises _Differs: the file is longer than it may be."""
        if os.fstat(self._handle).st_size != size:
            raise _Differs
        os.fsync(self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        os.close(self._handle)

    def _read(self, offset: int, size: int) -> bytes:
        self._set_direct(wanted=False)
        return os.pread(self._handle, size, offset)

    def _set_direct(self, wanted: bool) -> None:
        wanted = wanted and self._can_be_direct
        if wanted == self._direct:
            return
        flags = fcntl.fcntl(self._handle, fcntl.F_GETFL)
        flags = flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT
        try:
            fcntl.fcntl(self._handle, fcntl.F_SETFL, flags)
        except OSError:
            self._can_be_direct = False
            return
        self._direct = wanted


def check_unchanged(plain: int, source: SourceFile) -> None:
    """Raises Invalid where the open plain file is not what was found at first."""
    status = os.fstat(plain)
    if (status.st_size, status.st_mtime_ns) != (source.size, source.modified_ns):
        message = f"{source.name} changed while it was sealed"
        hint = "seal again when it is quiet"
        raise Invalid(message, code="changed_while_sealing", hint=hint)


def _begun_header(
    run: SealRun, path: Path, number: int, source: SourceFile, index_bytes: int
) -> Header | None:
    """The header that this file was begun with, where it is of this very file and key."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        header, commitment = parse_head(os.pread(handle, HEAD_BYTES_MAX, 0))
    except DutchdoorError:
        return None
    finally:
        os.close(handle)
    said = (header.content_id, header.file, header.size, header.index_bytes)
    if said != (run.content_id, number, source.size, index_bytes):
        return None
    return header if FileCipher(run.key, header).commits_to(commitment) else None


def _map_plain(job: _Job) -> tuple[mmap.mmap | None, memoryview]:
    check_unchanged(job.plain, job.source)
    if not job.source.size:
        return None, memoryview(b"")
    source = mmap.mmap(job.plain, job.source.size, mmap.MAP_SHARED, mmap.PROT_READ)
    advise(source, "MADV_SEQUENTIAL")
    return source, memoryview(source)


def _aligned_copy(data: bytes) -> memoryview:
    memory = memoryview(new_arena(len(data)))[: len(data)]
    memory[:] = data
    return memory
