"""Whether the audit under a decision is overdue, by the log's order alone.

The rules, for each bundle:
1. A completed audit counts from its entry on, once: put into the log again it is not newer.
2. An audit holds for `PERIOD_MS` from the earlier of its completion and its entry; a renewal by an
   auditor lets it run anew. Where the log does not hold the audit that a decision names, the period
   runs from the first decision that named it.
3. A due applies to every decision above fully closed on its bundle, except where the decision names
   an audit that was recorded after the due, or a renewal of the decision's audit names the due.
4. `ends_ms` after a due, or a grace period after rule 2's date, the audit is overdue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Decision, Level, Trust
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.reaudit import (
    GRACE_MS,
    PERIOD_MS,
    Audited,
    Due,
    Renewal,
    open_audited,
    open_due,
    open_renewal,
)

__all__ = ["REVIEW_KINDS", "Review", "Reviews"]

REVIEW_KINDS = frozenset({EntryKind.AUDIT_SIGNED, EntryKind.AUDIT_DUE, EntryKind.AUDIT_RENEWED})


@dataclass(frozen=True)
class Review:
    """How the audit under one decision stands.

    reviewed_ms: when an auditor last looked. dues: those that apply and nobody settled, the
    soonest first; the period's own end is among them, under an id that no entry has.
    """

    audit: str
    reviewed_ms: int
    dues: tuple[Due, ...]

    def overdue(self, now_ms: int) -> Due | None:
        """The due that puts the decision out of force at `now_ms`."""
        found = min(self.dues, key=lambda due: due.ends_ms)
        return found if now_ms >= found.ends_ms else None


@dataclass(frozen=True)
class _Placed:
    index: int
    time_ms: int


class Reviews:
    """Follows audits, dues and renewals. Not safe to share: the register's lock is held."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._audits: dict[tuple[str, str], _Placed] = {}
        self._named: dict[tuple[str, str], int] = {}
        self._dues: dict[str, list[tuple[int, Due]]] = {}
        self._renewals: dict[tuple[str, str], list[tuple[_Placed, Renewal]]] = {}
        self._ids: set[str] = set()

    def named(self, decision: Decision, time_ms: int) -> None:
        """Take note that a decision recorded at `time_ms` names its audit."""
        self._named.setdefault((decision.bundle, decision.audit), time_ms)

    def check(self, entry: Entry) -> Audited | Due | Renewal:
        """What `entry` states. Raises Invalid: it would change nothing, and why."""
        body: Mapping[str, Any] = entry.body
        if entry.kind is EntryKind.AUDIT_SIGNED:
            audited = open_audited(body, self._trust)
            if (audited.bundle, audited.summary) in self._audits:
                raise Invalid("the audit stands in the log already", code="audit_known")
            return audited
        if entry.kind is EntryKind.AUDIT_DUE:
            due = open_due(body, self._trust)
            if due.id in self._ids:
                raise Invalid("the due stands in the log already", code="due_known")
            return due
        renewal = open_renewal(body, self._trust)
        if renewal.id in self._ids:
            raise Invalid("the renewal stands in the log already", code="renewal_known")
        known = {due.id for _, due in self._dues.get(renewal.bundle, [])}
        unknown = [name for name in renewal.dues if name not in known]
        if unknown:
            # What is not there yet cannot have been reviewed.
            raise Invalid(f"no due {unknown[0]} on this bundle", code="no_due")
        return renewal

    def take(self, index: int, entry: Entry) -> Audited | Due | Renewal:
        """Follow `entry`; gives what it states. Raises Invalid: as `check`; nothing changed."""
        found = self.check(entry)
        if isinstance(found, Audited):
            time_ms = min(entry.time_ms, found.completed_ms)
            self._audits[found.bundle, found.summary] = _Placed(index, time_ms)
            return found
        self._ids.add(found.id)
        if isinstance(found, Due):
            self._dues.setdefault(found.bundle, []).append((index, found))
        else:
            place = _Placed(index, min(entry.time_ms, found.reviewed_ms))
            key = (found.bundle, found.audit)
            self._renewals.setdefault(key, []).append((place, found))
        return found

    def dues(self, bundle: str) -> tuple[Due, ...]:
        """All dues ever recorded on `bundle`, settled or not, in the log's order."""
        return tuple(due for _, due in self._dues.get(bundle, []))

    def of(self, decision: Decision, signed: int, before: int | None = None) -> Review | None:
        """How the audit under `decision` stands; None at level fully closed, which needs none.

        signed: index of the decision's entry. before: only entries below this index count.
        """
        if decision.level is Level.FULLY_CLOSED:
            return None
        key = (decision.bundle, decision.audit)
        audit = self._audits.get(key)
        if audit is not None and audit.index > signed:
            audit = None  # Whoever signed the decision had no audit in the log to look at.
        renewals = [
            (place, renewal)
            for place, renewal in self._renewals.get(key, [])
            if before is None or place.index < before
        ]
        start_ms = self._named[key] if audit is None else audit.time_ms
        reviewed_ms = max([start_ms, *(place.time_ms for place, _ in renewals)])
        settled = {name for _, renewal in renewals for name in renewal.dues}
        since = -1 if audit is None else audit.index
        dues = [
            due
            for index, due in self._dues.get(decision.bundle, [])
            if index > since and due.id not in settled and (before is None or index < before)
        ]
        dues.append(_period(decision, reviewed_ms))
        return Review(decision.audit, reviewed_ms, _soonest(dues))


def _period(decision: Decision, reviewed_ms: int) -> Due:
    return Due(
        id="",
        audit=decision.audit,
        bundle=decision.bundle,
        trigger="time",
        detail=f"the audit was last reviewed {PERIOD_MS // 86_400_000} days before",
        due_ms=reviewed_ms + PERIOD_MS,
        grace_ms=GRACE_MS,
    )


def _soonest(dues: Sequence[Due]) -> tuple[Due, ...]:
    return tuple(sorted(dues, key=lambda due: due.due_ms))
