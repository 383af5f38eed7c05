"""Which decision is in force, by the log's order alone.

The rules, for each bundle:
1. A decision comes into force where its entry stands, if its envelope verifies. It replaces the one
   before. An entry whose envelope does not verify, or does not say what the entry says, changes
   nothing and is remembered in `rejected`.
2. A revocation of the decision in force leaves none in force: there is no falling back.
3. A decision's id counts once: revoked or replaced, the same envelope put into the log again would
   otherwise undo what came after it.
4. In time, a decision is in force from not_before_ms on and before not_after_ms; where its terms
   name a day by which it must be looked at again, only before that day. A later decision renews it.
5. A decision stands in the stage of its plan that `stages` says: what is in force is the decision
   narrowed to that stage, and nothing where nobody is let in any more.
6. A decision above fully closed is out of force while the audit it stands on is overdue
   (`reviews`). Unlike the others this passes: a renewal by an auditor brings it back.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dutchdoor.clock import to_iso
from dutchdoor.errors import Invalid, NotInForce, Refused
from dutchdoor.evidence.decision import (
    Decision,
    Level,
    Trust,
    open_decision,
    open_revocation,
    signers_of,
)
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.panel_book import PANEL_KINDS, Panel, PanelBook
from dutchdoor.evidence.ports import Followed
from dutchdoor.evidence.reaudit import Due
from dutchdoor.evidence.reviews import REVIEW_KINDS, Review, Reviews
from dutchdoor.evidence.stages import STAGE_KINDS, Fall, Placed, Stages, check_plan

__all__ = ["DecisionRegister", "InForce", "Rejected", "Step"]

# Canonical entries end with `"kind":"...","time_ms":...,"v":1}`, in less than so many bytes.
_TAIL_BYTES = 80
_DECISIVE = tuple(
    b'"kind":"' + room for room in (b"decision_", b"audit_", b"panel_", b"stage_", b"incident_")
)
_TRAFFIC = (b'"kind":"inference_begun"', b'"kind":"inference_done"')
# What may only stand under a decision in force, named in the body together with its bundle.
_STANDS_UNDER = frozenset(
    {
        EntryKind.INFERENCE_BEGUN,
        EntryKind.KEY_REQUESTED,
        EntryKind.KEY_RELEASED,
        EntryKind.RUNTIME_STARTED,
        EntryKind.COPY_MADE,
        EntryKind.PACKAGE_EXPORTED,
    }
)
_OPEN_LEVELS = (Level.DOWNLOADABLE, Level.FULLY_OPEN)


@dataclass(frozen=True)
class InForce:
    """A decision in force, and the index of the entry that brought it into force."""

    decision: Decision
    index: int


@dataclass(frozen=True)
class Rejected:
    """An entry that claims to decide or to settle something and does not, and why not."""

    index: int
    reason: str


@dataclass(frozen=True)
class Step:
    """What one entry changed for one bundle: `decision` came into force, or none is since."""

    index: int
    decision: Decision | None
    reason: str


class DecisionRegister:
    """Follows the log and says which decision is in force. Safe to share between threads.

    It is also a `ports.Gate`: given to a `Log`, nothing that needs a decision can be recorded
    after that decision was revoked, whichever process revoked it.
    """

    def __init__(self, reader: Followed | None, trust: Trust) -> None:
        """reader: what `refresh` reads; None where a `Log` feeds this register as its gate."""
        self.rejected: list[Rejected] = []
        self._reader = reader
        self._trust = trust
        self._lock = threading.RLock()
        self._position = 0
        self._steps: dict[str, list[Step]] = {}
        self._known: set[str] = set()
        self._signers: dict[str, frozenset[str]] = {}
        self._revoked: set[str] = set()
        self._reviews = Reviews(trust)
        self._panels = PanelBook(trust)
        self._stages = Stages(trust)

    @property
    def position(self) -> int:
        """How many entries were followed so far."""
        return self._position

    def refresh(self) -> bool:
        """Follow what was appended since; gives whether there was anything.

        Raises Tampered, Unavailable: as `LogReader.refresh`.
        """
        assert self._reader is not None, "a register without a reader is fed by a log"
        self._reader.refresh()
        with self._lock:
            start = self._position
            if start >= self._reader.size():
                return False
            for index, data in self._reader.entries(start):
                self.follow(index, data)
            return True

    def follow(self, index: int, data: bytes) -> None:
        """Take note of entry `index`; entries known already change nothing."""
        with self._lock:
            if index < self._position:
                return
            assert index == self._position, "entries are followed in the log's order"
            # Nearly all entries are about inferences: they are told apart without parsing.
            tail = data[-_TAIL_BYTES:]
            if any(kind in tail for kind in _DECISIVE):
                self._decide(index, Entry.decode(data))
            elif self._stages.metered and any(kind in tail for kind in _TRAFFIC):
                self._stages.traffic(index, Entry.decode(data))
            self._position = index + 1

    def in_force(self, bundle: str, now_ms: int) -> InForce:
        """The decision in force for `bundle` at `now_ms`, by all that was followed.

        Raises NotInForce: none, with code `none_signed`, `revoked`, `not_yet`, `expired`,
        `review_overdue`, `audit_overdue` or `rolled_back`.
        """
        with self._lock:
            steps = self._steps.get(bundle, [])
            found = _judge(bundle, steps[-1] if steps else None, now_ms)
            return self._staged(self._audited(found, now_ms), now_ms)

    def at(self, bundle: str, index: int, now_ms: int | None = None) -> InForce:
        """The decision in force for an entry at `index`: by the entries before it.

        now_ms: that entry's time; None leaves the decision's dates aside.
        Raises NotInForce: as `in_force`.
        """
        with self._lock:
            steps = [step for step in self._steps.get(bundle, []) if step.index < index]
            found = _judge(bundle, steps[-1] if steps else None, now_ms)
            if now_ms is not None:
                found = self._audited(found, now_ms, before=index)
            return self._staged(found, now_ms, before=index)

    def review(self, bundle: str) -> Review | None:
        """How the audit under the latest decision on `bundle` stands, in force or not.

        None where there is no decision, or a fully closed one, which needs no audit.
        """
        with self._lock:
            steps = self._steps.get(bundle, [])
            if not steps or steps[-1].decision is None:
                return None
            return self._reviews.of(steps[-1].decision, steps[-1].index)

    def falls(self, bundle: str, now_ms: int) -> Sequence[Fall]:
        """The steps back of the latest decision on `bundle` that hold, recorded or not, in order.

        Nothing where there is no decision, or it was revoked.
        """
        with self._lock:
            steps = self._steps.get(bundle, [])
            decision = steps[-1].decision if steps else None
            return () if decision is None else tuple(self._stages.falls(decision.id, now_ms))

    def stands(self, bundle: str, now_ms: int) -> Decision | None:
        """The latest decision on `bundle` in the stage where it stands, in force or not.

        None where there is no decision, or it was revoked, or lets nobody in any more.
        """
        with self._lock:
            steps = self._steps.get(bundle, [])
            decision = steps[-1].decision if steps else None
            return None if decision is None else self._stages.stands(decision, now_ms)

    def incidents(self, bundle: str) -> Sequence[Placed]:
        """All revisions of all incidents on `bundle`, in the log's order."""
        with self._lock:
            return self._stages.incidents.of(bundle)

    def incident_bundles(self) -> Sequence[str]:
        """The bundles on which an incident was ever recorded."""
        with self._lock:
            return self._stages.incidents.bundles()

    def dues(self, bundle: str) -> Sequence[Due]:
        """All that ever made an audit of `bundle` due, settled or not, in the log's order."""
        with self._lock:
            return self._reviews.dues(bundle)

    def signers(self, decision: str) -> frozenset[str]:
        """Key ids of those who signed that decision, as the log has it; none if it never did."""
        with self._lock:
            return self._signers.get(decision, frozenset())

    def history(self, bundle: str) -> Sequence[Step]:
        """All that was ever decided about `bundle`, in the log's order."""
        with self._lock:
            return tuple(self._steps.get(bundle, ()))

    def panels(self) -> Sequence[Panel]:
        """All panels that were ever called or opened, in the log's order."""
        with self._lock:
            return self._panels.panels()

    def bundles(self) -> Sequence[str]:
        """The bundles that were ever decided about, in the log's order."""
        with self._lock:
            return tuple(self._steps)

    def admit(self, entry: Entry) -> None:
        """Check that `entry` may be the log's next.

        Raises NotInForce: it needs a decision in force, and there is none, or another.
        Raises Refused: it claims to decide, or to bring up or settle an audit, and would not.
        """
        with self._lock:
            if entry.kind in _STANDS_UNDER:
                bundle, named = entry.body.get("bundle"), entry.body.get("decision")
                found = self.in_force(str(bundle), entry.time_ms)
                if found.decision.id != named:
                    hint = "ask again: the decision changed in the meantime"
                    message = f"{named} is not the decision in force, {found.decision.id} is"
                    raise NotInForce(message, code="decision_replaced", hint=hint)
                if entry.kind is EntryKind.PACKAGE_EXPORTED:
                    _must_be_open(found.decision, entry)
                elif entry.kind is EntryKind.INFERENCE_BEGUN and self.falls(
                    str(bundle), entry.time_ms
                ):
                    _must_be_let_in(found.decision, entry)
            else:
                try:
                    self._check(entry)
                except Invalid as error:
                    raise _rejected(error) from error

    def _check(self, entry: Entry) -> None:
        """Raises Invalid: it claims to decide or to settle something, and would not."""
        if entry.kind is EntryKind.DECISION_SIGNED:
            self._check_decision(entry.body)
        elif entry.kind is EntryKind.DECISION_REVOKED:
            self._check_revocation(entry.body)
        elif entry.kind in PANEL_KINDS:
            self._panels.check(entry)
        elif entry.kind in REVIEW_KINDS:
            self._reviews.check(entry)
        elif entry.kind in STAGE_KINDS:
            self._stages.check(entry)

    def _audited(self, found: InForce, now_ms: int, before: int | None = None) -> InForce:
        review = self._reviews.of(found.decision, found.index, before)
        due = None if review is None else review.overdue(now_ms)
        if due is None:
            return found
        # Whoever calls reads this: what a due says in detail is for those who read the log.
        message = (
            f"the audit under {found.decision.id} is overdue since {to_iso(due.ends_ms)} "
            f"({due.trigger})"
        )
        hint = "audit again and decide anew, or have an auditor review it: dutchdoor audit renew"
        raise NotInForce(message, code="audit_overdue", hint=hint)

    def _staged(self, found: InForce, now_ms: int | None, before: int | None = None) -> InForce:
        decision = self._stages.stands(found.decision, now_ms, before)
        if decision is not None:
            return InForce(decision, found.index)
        message = f"{found.decision.id} was rolled back, and lets nobody in any more"
        hint = "a new decision is needed: dutchdoor release next"
        raise NotInForce(message, code="rolled_back", hint=hint)

    def _decide(self, index: int, entry: Entry) -> None:
        try:
            if entry.kind is EntryKind.DECISION_SIGNED:
                decision = self._check_decision(entry.body)
                self._known.add(decision.id)
                self._signers[decision.id] = signers_of(_envelope(entry.body), self._trust)
                self._reviews.named(decision, entry.time_ms)
                self._stages.decided(index, decision)
                self._steps.setdefault(decision.bundle, []).append(Step(index, decision, ""))
            elif entry.kind in REVIEW_KINDS:
                self._stages.reviewed(index, entry.time_ms, self._reviews.take(index, entry))
            elif entry.kind in STAGE_KINDS:
                self._stages.take(index, entry)
            elif entry.kind in PANEL_KINDS:
                self._panels.take(index, entry)
            elif entry.kind is EntryKind.DECISION_REVOKED:
                revoked, reason = self._check_revocation(entry.body)
                self._revoked.add(revoked)
                for steps in self._steps.values():
                    last = steps[-1].decision
                    if last is not None and last.id == revoked:
                        steps.append(Step(index, None, reason))
        except Invalid as error:
            self.rejected.append(Rejected(index, error.message))

    def _check_decision(self, body: dict[str, Any]) -> Decision:
        decision = open_decision(_envelope(body), self._trust)
        check_plan(decision)
        said = {"decision": decision.id, "bundle": decision.bundle, "level": str(decision.level)}
        _check_said(body, said)
        if decision.id in self._revoked:
            raise Invalid("the decision was revoked for good", code="decision_revoked")
        if decision.id in self._known:
            raise Invalid("the decision stands in the log already", code="decision_known")
        return decision

    def _check_revocation(self, body: dict[str, Any]) -> tuple[str, str]:
        found = open_revocation(_envelope(body), self._trust)
        said = {"decision": found.decision, "bundle": found.bundle, "reason": found.reason}
        _check_said(body, said)
        return found.decision, found.reason


def _judge(bundle: str, step: Step | None, now_ms: int | None) -> InForce:
    if step is None:
        message = f"no release decision on {bundle} was ever signed"
        hint = "propose one: dutchdoor release propose"
        raise NotInForce(message, code="none_signed", hint=hint)
    decision = step.decision
    if decision is None:
        message = f"the decision on {bundle} was revoked: {step.reason}"
        hint = "a new decision is needed: dutchdoor release propose"
        raise NotInForce(message, code="revoked", hint=hint)
    if now_ms is not None and now_ms < decision.not_before_ms:
        begin = to_iso(decision.not_before_ms)
        message = f"{decision.id} is not in force before {begin}"
        raise NotInForce(message, code="not_yet", hint=f"come back after {begin}")
    if now_ms is not None and now_ms >= decision.not_after_ms:
        message = f"{decision.id} ended at {to_iso(decision.not_after_ms)}"
        hint = "a new decision is needed: dutchdoor release propose"
        raise NotInForce(message, code="expired", hint=hint)
    if now_ms is not None and now_ms >= decision.ends_ms:
        message = f"{decision.id} was to be reviewed by {to_iso(decision.ends_ms)}, and was not"
        hint = "review it and decide anew: dutchdoor release propose"
        raise NotInForce(message, code="review_overdue", hint=hint)
    return InForce(decision, step.index)


def _must_be_let_in(decision: Decision, entry: Entry) -> None:
    person, asked = entry.body.get("person"), entry.body.get("depths")
    rows = [row for row in decision.audiences if not row.people or person in row.people]
    open_depths = {str(depth) for row in rows for depth in row.depths}
    if not isinstance(asked, list) or not set(asked) <= open_depths:
        message = f"{decision.id} was rolled back to '{decision.stage}', which opens less"
        hint = "ask for less, or wait for a new decision"
        raise NotInForce(message, code="stage_rolled_back", hint=hint)


def _must_be_open(decision: Decision, entry: Entry) -> None:
    if decision.level not in _OPEN_LEVELS or entry.body.get("level") != str(decision.level):
        message = f"no package leaves at level {decision.level}"
        hint = "only a decision at level downloadable or fully_open lets weights leave"
        raise Refused(message, code="export_not_decided", hint=hint)


def _envelope(body: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(body["envelope"], validate=True)
    except (KeyError, TypeError, binascii.Error, ValueError) as error:
        raise Invalid("the entry holds no envelope", code="bad_statement") from error


def _check_said(body: dict[str, Any], said: dict[str, str]) -> None:
    if body.keys() != {*said, "envelope"} or any(body[name] != said[name] for name in said):
        message = "the entry says something else than its envelope"
        raise Invalid(message, code="bad_decision")


def _rejected(error: Invalid) -> Refused:
    message = f"this would decide nothing: {error.message}"
    return Refused(message, code="decision_rejected", hint=error.hint)
