"""The evidence log as the gateway uses it: a committer to write, a reader to read back."""

from __future__ import annotations

import threading
from typing import Protocol

from dutchdoor.evidence.model import Entry, Recorded
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.tree import View

__all__ = ["Ledger", "Writer"]


class Writer(Protocol):
    """Makes entries durable; `evidence.committer.Committer` is one."""

    async def record(self, entry: Entry) -> Recorded: ...


class Ledger:
    """`gateway.ports.Evidence` over the real log."""

    def __init__(self, writer: Writer, reader: LogReader) -> None:
        """reader: of its own; a reader is not shared between threads, so its refresh is locked."""
        self._writer = writer
        self._reader = reader
        self._lock = threading.Lock()

    async def record(self, entry: Entry) -> Recorded:
        """The entry, once it is durable."""
        return await self._writer.record(entry)

    def view(self) -> View:
        """The log with all that is durable now, whoever wrote it. Blocking."""
        with self._lock:
            self._reader.refresh()
            return self._reader.view
