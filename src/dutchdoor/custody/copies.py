"""The copies of each bundle that are known, read from the log: made, and destroyed.

The registry is the log's: who made a copy without telling the log has a copy that is not in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.reader import LogReader
from dutchdoor.ids import BundleDigest, random_part

__all__ = ["PLACE_CHARACTERS_MAX", "Copies", "Copy", "destroyed", "made"]

PLACE_CHARACTERS_MAX = 200
_TAIL_BYTES = 80
_KINDS = tuple(
    f'"kind":"{kind}"'.encode()
    for kind in (
        EntryKind.BUNDLE_SEALED,
        EntryKind.COPY_MADE,
        EntryKind.COPY_DESTROYED,
        EntryKind.PACKAGE_EXPORTED,
    )
)


@dataclass(frozen=True)
class Copy:
    """One copy. kind: `sealed` at its birth, `copy`, or `package`, which is plain."""

    id: str
    bundle: str
    kind: str
    place: str
    made_ms: int


class Copies:
    """Follows the log; safe to share between threads."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader
        self._lock = threading.Lock()
        self._position = 0
        self._known: dict[str, Copy] = {}

    def known(self, bundle: str) -> tuple[Copy, ...]:
        """The copies of `bundle` that were made and not destroyed, oldest first.

        Raises Tampered, Unavailable: the log cannot be followed.
        """
        with self._lock:
            self._reader.refresh()
            for index, data in self._reader.entries(self._position):
                if any(kind in data[-_TAIL_BYTES:] for kind in _KINDS):
                    self._take(Entry.decode(data))
                self._position = index + 1
            return tuple(copy for copy in self._known.values() if copy.bundle == bundle)

    def count(self, bundle: BundleDigest) -> int:
        """How many copies of `bundle` are known. Raises as `known`."""
        return len(self.known(bundle))

    def _take(self, entry: Entry) -> None:
        body = entry.body
        bundle = str(body.get("bundle"))
        if entry.kind is EntryKind.BUNDLE_SEALED:
            found = Copy(bundle, bundle, "sealed", "where it was sealed", entry.time_ms)
        elif entry.kind is EntryKind.COPY_MADE:
            place = str(body.get("place"))
            found = Copy(str(body.get("copy")), bundle, "copy", place, entry.time_ms)
        elif entry.kind is EntryKind.PACKAGE_EXPORTED:
            found = Copy(str(body.get("package")), bundle, "package", "exported", entry.time_ms)
        else:
            gone = self._known.get(str(body.get("copy")))
            if gone is not None and gone.bundle == bundle:
                del self._known[gone.id]
            return
        self._known.setdefault(found.id, found)


def made(
    copies: Copies,
    decision: Decision,
    place: str,
    *,
    record: Callable[[Entry], Recorded],
    now_ms: int,
) -> Copy:
    """Record a copy before it is made: under the decision in force, within its number of copies.

    Raises Refused: one more than the decision lets there be. Raises NotInForce, Unavailable: it
    cannot be recorded; then it must not be made.
    """
    place = place.strip()
    if not 0 < len(place) <= PLACE_CHARACTERS_MAX or not place.isprintable():
        message = f"a place is said in 1 to {PLACE_CHARACTERS_MAX} characters"
        raise Invalid(message, code="bad_place", hint="say where the copy is, in a few words")
    most, known = decision.terms.custody.copies_max, copies.count(decision.bundle)
    if most and known >= most:
        message = f"{known} copies are known, the decision lets there be {most}"
        hint = "destroy one and record it: dutchdoor custody destroyed COPY; or decide anew"
        raise Refused(message, code="custody_copies", hint=hint)
    copy = Copy("copy_" + random_part(16), decision.bundle, "copy", place, now_ms)
    body = {
        "bundle": decision.bundle,
        "decision": decision.id,
        "copy": copy.id,
        "place": place,
    }
    record(Entry(EntryKind.COPY_MADE, now_ms, body))
    return copy


def destroyed(
    copies: Copies,
    bundle: str,
    copy: str,
    reason: str,
    *,
    record: Callable[[Entry], Recorded],
    now_ms: int,
) -> None:
    """Record that a copy is gone. Raises NotFound: no such copy is known. Raises Unavailable."""
    if copy not in {row.id for row in copies.known(bundle)}:
        message = f"no copy '{copy}' of this bundle is known"
        raise NotFound(message, code="no_copy", hint="see 'dutchdoor custody copies'")
    if not reason.strip():
        raise Invalid("say how it was destroyed", code="no_reason", hint="give --reason TEXT")
    body = {"bundle": bundle, "copy": copy, "reason": reason.strip()}
    record(Entry(EntryKind.COPY_DESTROYED, now_ms, body))
