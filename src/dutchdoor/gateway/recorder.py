"""The gateway's entries: durable or not at all, and what is owed is paid later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dutchdoor.clock import Clock
from dutchdoor.errors import DutchdoorError, Refused, Unavailable
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.gateway.ports import Evidence

__all__ = ["Recorder"]

OWED_MAX = 10_000


class Recorder:
    """Records entries, and tells at once when the log cannot.

    owed: ends of inferences that could not be recorded. Nothing of those inferences left after the
    failure; their entries say just that, and are written as soon as the log takes entries again.
    """

    def __init__(self, evidence: Evidence, clock: Clock) -> None:
        self._evidence = evidence
        self._clock = clock
        self._on_failure: Callable[[DutchdoorError], None] = lambda _: None
        self.owed: list[Entry] = []
        self.failing = False

    def on_failure(self, listener: Callable[[DutchdoorError], None]) -> None:
        """Call `listener` whenever an entry could not be made durable."""
        self._on_failure = listener

    async def record(
        self,
        kind: EntryKind,
        body: dict[str, Any],
        *,
        owed: Callable[[], dict[str, Any]] | None = None,
    ) -> Recorded:
        """The entry, durable. owed: gives the body to write later where that fails.

        Raises Refused: the log's own gate refuses it (no decision in force covers it any more).
        Raises Unavailable: it is not known to be durable, whatever the reason was.
        """
        entry = Entry(kind, self._clock.now_ms(), body)
        try:
            recorded = await self._evidence.record(entry)
        except Refused:
            raise
        except Exception as error:  # Any failure to record stops what was to be recorded.
            self.failing = True
            if owed is not None and len(self.owed) < OWED_MAX:
                self.owed.append(Entry(kind, entry.time_ms, owed()))
            unavailable = Unavailable(
                "the evidence log cannot record, so nothing is released",
                code="evidence_unavailable",
                hint="ask the operator to look at the log's disk; nothing was lost",
            )
            self._on_failure(unavailable)
            raise unavailable from error
        self.failing = False
        return recorded

    async def pay(self, recorded_already: Callable[[str], bool]) -> None:
        """Write what is owed, oldest first, until the log refuses again.

        recorded_already: whether the log holds this inference's end after all; a failed write can
        have been durable.
        """
        while self.owed:
            entry = self.owed[0]
            if not recorded_already(str(entry.body.get("inference", ""))):
                try:
                    await self._evidence.record(entry)
                except Exception:  # Still failing: it stays owed.
                    return
            self.owed.pop(0)
        self.failing = False
