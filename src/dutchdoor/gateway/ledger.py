"""The evidence log as the gateway uses it: a committer to write, a reader to read back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol

from dutchdoor.evidence.model import Entry, Recorded
from dutchdoor.evidence.tree import View

__all__ = ["Ledger", "Source", "Writer"]


class Writer(Protocol):
    """Makes entries durable; `evidence.committer.Committer` is one."""

    async def record(self, entry: Entry) -> Recorded: ...


class Source(Protocol):
    """Gives the log; `evidence.reader.LogReader` is one, and `evidence.log.Log` itself."""

    @property
    def view(self) -> View: ...

    def refresh(self) -> object: ...


class Ledger:
    """`gateway.ports.Evidence` over the real log."""

    def __init__(self, writer: Writer, source: Source) -> None:
        """source: the log that `writer` writes, so that nothing is read and hashed twice; or a
        reader of its own, whose refresh is locked because it is not shared between threads."""
        self._writer = writer
        self._source = source
        self._lock = threading.Lock()

    async def record(self, entry: Entry) -> Recorded:
        """The entry, once it is durable."""
        return await self._writer.record(entry)

    def view(self) -> View:
        """The log with all that is durable now, whoever wrote it. Blocking."""
        with self._lock:
            self._source.refresh()
            return self._source.view

    def seen(self) -> View:
        """The log as it was last seen, without a look: what this process recorded is in it."""
        return self._source.view

    # What a decision register reads a log by.

    def refresh(self) -> object:
        """Take in what was appended since. Raises Tampered, Unavailable."""
        return self.view()

    def size(self) -> int:
        """How many entries were seen."""
        return self.seen().size

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The entries start..stop with their indexes, of those seen."""
        return self.seen().entries(start, stop)
