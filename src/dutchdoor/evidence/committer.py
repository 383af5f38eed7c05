"""Group commit: many callers of one event loop share one turn of the log, and its one flush."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from dutchdoor.errors import DutchdoorError, Unavailable
from dutchdoor.evidence.journal import FRAME_ENTRIES_MAX
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.model import Entry, Recorded

__all__ = ["QUEUE_ENTRIES_MAX", "Committer"]

QUEUE_ENTRIES_MAX = 16_384


class _Waiter(NamedTuple):
    entry: Entry
    future: asyncio.Future[Recorded]


class Committer:
    """Hands entries to `log` from one event loop, on one thread of its own."""

    def __init__(self, log: Log, *, queue_entries_max: int = QUEUE_ENTRIES_MAX) -> None:
        """log: stays the caller's to close, after `aclose`."""
        self._log = log
        self._queue_entries_max = queue_entries_max
        self._queue: deque[_Waiter] = deque()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="evidence")
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def record(self, entry: Entry) -> Recorded:
        """`entry` once it is durable: what is done on its strength may be done now.

        A caller that is cancelled while it waits may find the entry recorded all the same.
        Raises Invalid: no canonical form, or too long. Raises Refused: the log's gate.
        Raises Unavailable: the log failed, too many wait, or this is closed; try again later, it
        may have recovered.
        """
        if self._closed:
            raise Unavailable("the log is closed", code="log_closed")
        if len(self._queue) >= self._queue_entries_max:
            message = f"{self._queue_entries_max} entries wait for the log already"
            hint = "try again in a moment; the log's disk may be too slow for this load"
            raise Unavailable(message, code="log_busy", hint=hint)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(entry, loop.create_future())
        self._queue.append(waiter)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._drain())
        return await waiter.future

    async def aclose(self) -> None:
        """Take no more entries, record those that wait, and end the thread."""
        self._closed = True
        if self._task is not None:
            await self._task
        self._worker.shutdown(wait=False)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            count = min(len(self._queue), FRAME_ENTRIES_MAX)
            taken = [self._queue.popleft() for _ in range(count)]
            waiters = [waiter for waiter in taken if not waiter.future.done()]
            entries = [waiter.entry for waiter in waiters]
            try:
                outcomes = await loop.run_in_executor(self._worker, self._log.append_each, entries)
            except Exception as error:
                # Whatever it was, nobody may go on: each waiter fails closed with the reason.
                for waiter in waiters:
                    _fail(waiter, _unavailable(error))
                continue
            for waiter, outcome in zip(waiters, outcomes, strict=True):
                if isinstance(outcome, DutchdoorError):
                    _fail(waiter, outcome)
                elif not waiter.future.done():
                    waiter.future.set_result(outcome)


def _fail(waiter: _Waiter, error: DutchdoorError) -> None:
    if not waiter.future.done():
        waiter.future.set_exception(error)


def _unavailable(error: Exception) -> Unavailable:
    """A new error for each waiter: one raised twice would mix their tracebacks."""
    if isinstance(error, DutchdoorError):
        result = Unavailable(error.message, code=error.code, hint=error.hint)
    else:
        result = Unavailable("the log failed", code="log_unavailable")
    result.__cause__ = error
    return result
