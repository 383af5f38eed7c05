"""When the custodians of each bundle last showed that they can open it, read from the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dutchdoor.custody.drill import PERIOD_MS
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.reader import LogReader

__all__ = ["DrillState", "drill_of"]

_TAIL_BYTES = 80
_KINDS = {
    f'"kind":"{kind}"'.encode(): kind
    for kind in (
        EntryKind.BUNDLE_SEALED,
        EntryKind.CUSTODY_ROTATED,
        EntryKind.CUSTODY_DRILLED,
        EntryKind.KEY_RELEASED,
    )
}


class DrillState(NamedTuple):
    """What the log says of a bundle's drills.

    last_ms: of the last drill that passed or opening that a quorum released, 0 for none.
    due_ms: when the next is due. failed: whether the last drill found too few. overdue: by now.
    """

    last_ms: int
    due_ms: int
    failed: bool
    overdue: bool

    def text(self, to_iso: Callable[[int], str]) -> str:
        """One line for a person."""
        last = f"proved {to_iso(self.last_ms)[:10]}" if self.last_ms else "never proved"
        failed = "; the last drill FAILED: too few custodians proved their shares"
        state = "OVERDUE since" if self.overdue else "next by"
        return f"quorum {last}, drill {state} {to_iso(self.due_ms)[:10]}" + failed * self.failed


def drill_of(reader: LogReader, bundle: str, now_ms: int) -> DrillState:
    """The state of `bundle` (digest) as the log has it; `reader` is refreshed.

    Raises Tampered, Unavailable: the log cannot be read.
    """
    reader.refresh()
    base_ms, last_ms, failed = 0, 0, False
    for _, data in reader.entries():
        tail = data[-_TAIL_BYTES:]
        if not any(kind in tail for kind in _KINDS):
            continue
        entry = Entry.decode(data)
        if entry.body.get("bundle") != bundle:
            continue
        if entry.kind in (EntryKind.BUNDLE_SEALED, EntryKind.CUSTODY_ROTATED):
            # Other custodians hold other shares: what the former ones proved says nothing.
            base_ms, last_ms, failed = entry.time_ms, 0, False
        elif entry.kind is EntryKind.KEY_RELEASED:
            last_ms = entry.time_ms
        elif entry.body.get("passed") is True:
            last_ms, failed = entry.time_ms, False
        else:
            failed = True
    due_ms = max(base_ms, last_ms) + PERIOD_MS
    return DrillState(last_ms, due_ms, failed, failed or now_ms >= due_ms)
