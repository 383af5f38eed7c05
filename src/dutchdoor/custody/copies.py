"""The copies of each bundle that are known, read from the log: made, seen, and destroyed.

The registry is the log's: who made a copy without telling the log has a copy that is not in it,
until somebody sees it. A copy that is seen and not known counts as one more, and is alarming.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from dutchdoor import canonical
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, EntryKind, Recorded
from dutchdoor.evidence.reader import LogReader
from dutchdoor.ids import BundleDigest, random_part

__all__ = [
    "PLACE_CHARACTERS_MAX",
    "SEEN_MS_MAX",
    "Copies",
    "Copy",
    "destroyed",
    "made",
    "seen",
]

PLACE_CHARACTERS_MAX = 200
SEEN_MS_MAX = 91 * 86_400_000
"""How long a copy may go unseen before it is shown as lost sight of."""
_TAIL_BYTES = 80
_KINDS = tuple(
    f'"kind":"{kind}"'.encode()
    for kind in (
        EntryKind.BUNDLE_SEALED,
        EntryKind.COPY_MADE,
        EntryKind.COPY_DESTROYED,
        EntryKind.COPY_SEEN,
        EntryKind.RUNTIME_STARTED,
        EntryKind.PACKAGE_EXPORTED,
    )
)


@dataclass(frozen=True)
class Copy:
    """One copy. kind: `sealed` at its birth, `copy`, `package`, which is plain, or `unknown`.

    seen_ms: when somebody last looked at it, or it was made, or opened.
    """

    id: str
    bundle: str
    kind: str
    place: str
    made_ms: int
    seen_ms: int

    def lost(self, now_ms: int) -> bool:
        """Whether nobody has looked at it for too long; a package cannot be looked at."""
        return self.kind != "package" and now_ms >= self.seen_ms + SEEN_MS_MAX


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

    def alarming(self, bundle: str) -> tuple[Copy, ...]:
        """The copies of `bundle` that were seen and never recorded. Raises as `known`."""
        return tuple(copy for copy in self.known(bundle) if copy.kind == "unknown")

    def count(self, bundle: BundleDigest) -> int:
        """How many copies of `bundle` are known. Raises as `known`."""
        return len(self.known(bundle))

    def _take(self, entry: Entry) -> None:
        body, time_ms = entry.body, entry.time_ms
        bundle = str(body.get("bundle"))
        name, place = str(body.get("copy")), str(body.get("place"))
        if entry.kind is EntryKind.BUNDLE_SEALED:
            found = Copy(bundle, bundle, "sealed", "where it was sealed", time_ms, time_ms)
        elif entry.kind is EntryKind.COPY_MADE:
            found = Copy(name, bundle, "copy", place, time_ms, time_ms)
        elif entry.kind is EntryKind.PACKAGE_EXPORTED:
            package = str(body.get("package"))
            found = Copy(package, bundle, "package", "exported", time_ms, time_ms)
        elif entry.kind is EntryKind.COPY_SEEN:
            self._see(name, bundle, place, time_ms)
            return
        elif entry.kind is EntryKind.RUNTIME_STARTED:
            self._touch(bundle, bundle, time_ms)
            return
        else:
            gone = self._known.get(name)
            if gone is not None and gone.bundle == bundle:
                del self._known[gone.id]
            return
        self._known.setdefault(found.id, found)

    def _see(self, name: str, bundle: str, place: str, time_ms: int) -> None:
        if self._touch(name, bundle, time_ms):
            return
        # Whoever recorded it said whether it was known; what counts is what the log knows.
        id_ = unknown_id(bundle, place)
        if not self._touch(id_, bundle, time_ms):
            self._known[id_] = Copy(id_, bundle, "unknown", place, time_ms, time_ms)

    def _touch(self, name: str, bundle: str, time_ms: int) -> bool:
        found = self._known.get(name)
        if found is None or found.bundle != bundle:
            return False
        self._known[name] = replace(found, seen_ms=max(found.seen_ms, time_ms))
        return True


def unknown_id(bundle: str, place: str) -> str:
    """The name of a copy that nobody recorded, after where it was seen."""
    return "unknown_" + canonical.digest([bundle, place]).removeprefix("sha256:")[:16]


def seen(
    copies: Copies,
    bundle: str,
    copy: str,
    place: str,
    *,
    record: Callable[[Entry], Recorded],
    now_ms: int,
) -> Copy:
    """Record that a copy was seen at `place`; gives it as the log knows it now.

    copy: its id; one the log does not know, or "", makes it an `unknown` copy, which counts.
    Raises Invalid: the place. Raises Unavailable: it cannot be recorded.
    """
    place = _checked(place)
    known = copy in {row.id for row in copies.known(bundle)}
    body = {"bundle": bundle, "copy": copy, "place": place, "known": known}
    record(Entry(EntryKind.COPY_SEEN, now_ms, body))
    name = copy if known else unknown_id(bundle, place)
    return next(row for row in copies.known(bundle) if row.id == name)


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
    place = _checked(place)
    most, known = decision.terms.custody.copies_max, copies.count(decision.bundle)
    if most and known >= most:
        message = f"{known} copies are known, the decision lets there be {most}"
        hint = "destroy one and record it: dutchdoor custody destroyed COPY; or decide anew"
        raise Refused(message, code="custody_copies", hint=hint)
    copy = Copy("copy_" + random_part(16), decision.bundle, "copy", place, now_ms, now_ms)
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


def _checked(place: str) -> str:
    place = place.strip()
    if not 0 < len(place) <= PLACE_CHARACTERS_MAX or not place.isprintable():
        message = f"a place is said in 1 to {PLACE_CHARACTERS_MAX} characters"
        raise Invalid(message, code="bad_place", hint="say where the copy is, in a few words")
    return place
