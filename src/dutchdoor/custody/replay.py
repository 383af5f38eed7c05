"""A custodian's memory of the requests it has answered, so that none is answered twice."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dutchdoor.custody.model import CustodyLimits
from dutchdoor.errors import Refused, Tampered, Unavailable

__all__ = ["FileSeen"]

_LINE = re.compile(r"(sha256:[0-9a-f]{64}) ([0-9]{1,16})")
_LINE_BYTES_MAX = 96


class FileSeen:
    """Request digests in a file of mode 0600, one a line with the time it expires.

    It outlives the process: a request that was answered before a restart stays answered.
    """

    def __init__(self, path: Path, limits: CustodyLimits | None = None) -> None:
        self._path = path
        self._limits = limits or CustodyLimits()

    def holds(self, request: str, now_ms: int) -> bool:
        """Whether the request of this digest was answered already.

        Raises Tampered: the file is not what this class writes. Raises Unavailable: no access.
        """
        with self._locked() as handle:
            return request in self._read(handle, now_ms)

    def remember(self, request: str, expires_ms: int, now_ms: int) -> None:
        """Keep the digest until it has expired; durable on return.

        Raises Refused: it was there already. Raises Unavailable: no room, or no access.
        """
        with self._locked() as handle:
            kept = self._read(handle, now_ms)
            if request in kept:
                raise Refused(
                    "this request was answered already",
                    code="request_replayed",
                    hint="let the runtime make a new request",
                )
            if len(kept) >= self._limits.seen_requests_max:
                message = f"{len(kept)} requests are still unexpired"
                hint = "wait until some have expired"
                raise Unavailable(message, code="replay_memory_full", hint=hint)
            # Appending leaves every earlier line readable whatever happens; the expired ones
            # go only when they are the majority, in one rewrite that keeps the locked file.
            line = f"{request} {expires_ms}\n"
            if os.fstat(handle).st_size > 2 * _LINE_BYTES_MAX * (len(kept) + 8):
                rows = "".join(f"{name} {until}\n" for name, until in kept.items())
                os.ftruncate(handle, 0)
                os.lseek(handle, 0, os.SEEK_SET)
                line = rows + line
            else:
                os.lseek(handle, 0, os.SEEK_END)
            self._write(handle, line.encode())

    @contextmanager
    def _locked(self) -> Iterator[int]:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise _no_memory() from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)

    def _read(self, handle: int, now_ms: int) -> dict[str, int]:
        size = os.fstat(handle).st_size
        if size > 4 * _LINE_BYTES_MAX * (self._limits.seen_requests_max + 8):
            raise _changed(self._path)
        kept = {}
        lines = os.pread(handle, size, 0).decode("ascii", "replace").split("\n")
        for line in lines[:-1]:
            match = _LINE.fullmatch(line)
            if match is None:
                raise _changed(self._path)
            if int(match[2]) > now_ms:
                kept[match[1]] = int(match[2])
        if lines[-1]:
            # A write that a crash cut short released nothing: the line is completed by none.
            os.ftruncate(handle, size - len(lines[-1]))
        return kept

    def _write(self, handle: int, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(handle, data) :]
            os.fsync(handle)
        except OSError as error:
            raise _no_memory() from error


def _no_memory() -> Unavailable:
    return Unavailable(
        "the memory of answered requests cannot be written",
        code="replay_memory_unavailable",
        hint="make room on the disk, and let the custodian own its folder",
    )


def _changed(path: Path) -> Tampered:
    return Tampered(
        f"{path} is not a memory of answered requests",
        code="replay_memory_changed",
        hint=f"find out who changed it; without open requests the file may be removed: {path}",
        where=str(path),
    )
