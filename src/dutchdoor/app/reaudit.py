"""What makes the audits of a workspace due again: found, shown, recorded, renewed.

The log decides what is overdue; this writes into it. `Attention` is the supervisor's daily look.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dutchdoor import canonical
from dutchdoor.access.model import Person
from dutchdoor.app import keys
from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.governance import compile_policies
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.summary import CARD_NAME, audit_keys, find_summary
from dutchdoor.audit.triggers import (
    TERMS,
    Sealed,
    Subject,
    TriggerKind,
    by_assumptions,
    by_guard_drift,
    by_new_adapter,
    by_people,
    by_time,
    count_traffic,
    rate_of,
)
from dutchdoor.clock import to_iso
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, NotInForce, Refused, Tampered
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.reaudit import (
    DUE_KIND,
    RENEWAL_KIND,
    Due,
    Renewal,
    open_due,
    open_renewal,
)
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.ids import BundleDigest, random_part
from dutchdoor.release.service import sign_birth

__all__ = ["Attention", "Matter", "matters", "record_dues", "renew", "reopen", "trigger"]

DAY_MS = 86_400_000
RETRY_MS = 60_000
CARD_BYTES_MAX = 1 << 20

Say = Callable[[str], None]


@dataclass(frozen=True)
class Matter:
    """One reason why an audit is or will be due. recorded: whether the log says so."""

    due: Due
    model: str
    recorded: bool

    def state(self, now_ms: int) -> str:
        """`coming`, `due` (its grace runs) or `overdue`."""
        if now_ms < self.due.due_ms:
            return "coming"
        return "due" if now_ms < self.due.ends_ms else "overdue"


def matters(workspace: Workspace) -> tuple[Matter, ...]:
    """Whatever makes an audit due, by all rules, the soonest end first.

    Raises Tampered, Unavailable: the log or a probe's card cannot be believed.
    """
    register = workspace.register
    register.refresh()
    now_ms = workspace.clock.now_ms()
    found = []
    for bundle in register.bundles():
        decision, subject = _subject(register, bundle)
        review = register.review(bundle)
        if decision is None or subject is None or review is None:
            continue
        recorded = [due for due in review.dues if due.id]
        found += [Matter(due, subject.model, recorded=True) for due in recorded]
        rows = [by_time(subject), *by_assumptions(subject)]
        rows += by_new_adapter(subject, _sealed(workspace))
        rows += _drift(workspace, decision, subject, now_ms)
        known = {due.id for due in register.dues(bundle)}
        found += [Matter(due, subject.model, recorded=False) for due in rows if due.id not in known]
    return tuple(sorted(found, key=lambda matter: matter.due.ends_ms))


def record_dues(workspace: Workspace, dues: Iterable[Due], signer: Signer) -> tuple[Due, ...]:
    """Record what the log does not hold yet; gives that.

    Raises Refused: the signer is neither holder, approver nor auditor. Raises Unavailable.
    """
    workspace.register.refresh()
    written = []
    for due in dues:
        if due.id in {row.id for row in workspace.register.dues(due.bundle)}:
            continue
        due.check()
        envelope = sign_statement(DUE_KIND, due.to_body(), [signer])
        body = {**due.to_body(), "envelope": base64.b64encode(envelope).decode()}
        try:
            open_due(body, workspace.trust)
        except Invalid as error:
            message = f"the key of {signer.name} may not bring an audit up"
            hint = "the holder, an approver or an auditor does"
            raise Refused(message, code="signer_unknown", hint=hint) from error
        workspace.record(Entry(EntryKind.AUDIT_DUE, workspace.clock.now_ms(), body))
        written.append(due)
    workspace.register.refresh()
    return tuple(written)


def trigger(
    workspace: Workspace,
    bundle: str | None,
    kind: TriggerKind,
    reason: str,
    signer: Signer,
    *,
    due_ms: int | None = None,
    grace_ms: int | None = None,
) -> Due:
    """Record that the audit under the bundle's latest decision is due, because of `reason`.

    due_ms, grace_ms: None for now, and for the grace that `kind` leaves.
    Raises NotFound: no decision above fully closed stands there. Raises as `record_dues` does.
    """
    subject = _subject_of(workspace, bundle)
    at_ms = workspace.clock.now_ms() if due_ms is None else due_ms
    due = by_people(subject, kind, reason, at_ms, grace_ms)
    record_dues(workspace, [due], signer)
    return due


def renew(
    workspace: Workspace,
    bundle: str | None,
    reason: str,
    signer: Signer,
    dues: Iterable[str] = (),
) -> Renewal:
    """Record an auditor's statement that the audit under the latest decision holds on.

    dues: ids of what was reviewed; without any, all that the log holds unsettled.
    Raises NotFound: no such decision or due. Raises Refused: the signer is no auditor. Raises
    Invalid: no reason.
    """
    subject = _subject_of(workspace, bundle)
    if not reason.strip():
        raise Invalid("a renewal says why", code="no_reason", hint="give --reason TEXT")
    review = workspace.register.review(subject.bundle)
    assert review is not None, "it has a subject"
    unsettled = [due.id for due in review.dues if due.id]
    chosen = list(dues) or unsettled
    unknown = [name for name in chosen if name not in unsettled]
    if unknown:
        message = f"no due '{unknown[0]}' is open on this bundle"
        raise NotFound(message, code="no_due", hint="dutchdoor audit due")
    now_ms = workspace.clock.now_ms()
    name = "renewal_" + random_part()
    renewal = Renewal(name, subject.audit, subject.bundle, tuple(chosen), reason.strip(), now_ms)
    envelope = sign_statement(RENEWAL_KIND, renewal.to_body(), [signer])
    body = {**renewal.to_body(), "envelope": base64.b64encode(envelope).decode()}
    try:
        open_renewal(body, workspace.trust)
    except Invalid as error:
        message = f"the key of {signer.name} may not renew an audit"
        hint = "an auditor does; trust.json says who they are"
        raise Refused(message, code="not_an_auditor", hint=hint) from error
    workspace.record(Entry(EntryKind.AUDIT_RENEWED, now_ms, body))
    workspace.register.refresh()
    return renewal


def reopen(workspace: Workspace, bundle: str | None, auditors: Iterable[Person]) -> Decision:
    """Let auditors in again, under a new fully closed decision, where no other is in force.

    Raises Refused: a decision is in force, which this would end. Raises NotFound: nothing was ever
    decided on the bundle. Raises Invalid: no auditor.
    """
    found = find_bundle(workspace, bundle)
    register = workspace.register
    register.refresh()
    try:
        standing = register.in_force(found.digest, workspace.clock.now_ms()).decision
    except NotInForce as error:
        before = [step.decision for step in register.history(found.digest) if step.decision]
        if not before:
            raise NotFound(error.message, code="no_decision", hint=error.hint) from error
    else:
        message = f"{standing.id} is in force"
        hint = "audit under it, or revoke it first: dutchdoor release revoke"
        raise Refused(message, code="decision_in_force", hint=hint)
    last = register.history(found.digest)[-1].decision
    decision = sign_birth(
        bundle=found.digest,
        model=before[-1].model,
        hidden_size=before[-1].hidden_size,
        auditors=[person.id for person in auditors],
        holder=keys.holder(workspace.places),
        record=workspace.record,
        clock=workspace.clock,
        stage="closed again: another internal audit",
        supersedes=last.id if last else "",
    )
    register.refresh()
    compile_policies(workspace)
    return decision


class Attention:
    """The supervisor's daily look at what is due by a date: the period, and assumptions.

    What is due is recorded with the holder's key. Where that cannot be done, `holds` says no as if
    it had been, once the grace is over: nothing goes on for want of a signature.
    """

    def __init__(self, workspace: Workspace, say: Say) -> None:
        self._workspace = workspace
        self._say = say
        self._looked: tuple[str, int] | None = None
        self._unrecorded: tuple[Due, ...] = ()

    def holds(self, decision: Decision, now_ms: int) -> bool:
        """Whether the audit under `decision`, which is in force, is not overdue besides.

        Looks anew once a day, and whenever another decision comes into force.
        """
        if self._is_old(decision, now_ms):
            self._look(decision.bundle, now_ms)
            self._looked = (decision.id, now_ms)
        return all(now_ms < due.ends_ms for due in self._unrecorded)

    def _is_old(self, decision: Decision, now_ms: int) -> bool:
        if self._looked is None or self._looked[0] != decision.id:
            return True
        # What could not be recorded is tried again soon; a renewal may have settled it meanwhile.
        pause_ms = RETRY_MS if self._unrecorded else DAY_MS
        return now_ms - self._looked[1] >= pause_ms

    def _look(self, bundle: BundleDigest, now_ms: int) -> None:
        register = self._workspace.register
        _, subject = _subject(register, bundle)
        rows = () if subject is None else (by_time(subject), *by_assumptions(subject))
        known = {due.id for due in register.dues(bundle)}
        found = tuple(row for row in rows if row.due_ms <= now_ms and row.id not in known)
        if not found:
            self._unrecorded = ()
            return
        told = self._unrecorded
        try:
            record_dues(self._workspace, found, keys.holder(self._workspace.places))
            self._unrecorded = ()
        except DutchdoorError as error:
            self._unrecorded = found
            if told != found:
                self._say(f"what is due cannot be recorded: {error.message} [{error.code}]")
        if told != found:
            for due in found:
                self._say(f"the audit is due ({due.trigger}), at the latest {to_iso(due.ends_ms)}")


def _subject(register: DecisionRegister, bundle: str) -> tuple[Decision | None, Subject | None]:
    """The latest decision on `bundle`, and what the triggers look at; None at fully closed."""
    review = register.review(bundle)
    steps = register.history(bundle)
    decision = steps[-1].decision if steps else None
    if review is None or decision is None:
        return None, None
    return decision, Subject(
        bundle=decision.bundle,
        model=decision.model,
        decision=decision.id,
        audit=decision.audit,
        reasons=decision.reasons,
        reviewed_ms=review.reviewed_ms,
    )


def _subject_of(workspace: Workspace, bundle: str | None) -> Subject:
    found = find_bundle(workspace, bundle)
    workspace.register.refresh()
    _, subject = _subject(workspace.register, found.digest)
    if subject is None:
        message = f"no decision above fully closed stands on {found.name}"
        hint = "only such a decision rests on an audit: dutchdoor release history"
        raise NotFound(message, code="no_decision", hint=hint)
    return subject


def _sealed(workspace: Workspace) -> list[Sealed]:
    rows = []
    for _, data in workspace.reader.entries():
        if b'"kind":"bundle_sealed"' in data[-80:]:
            entry = Entry.decode(data)
            rows.append(Sealed(entry.body["bundle"], entry.body["model"], entry.time_ms))
    return rows


def _drift(workspace: Workspace, decision: Decision, subject: Subject, now_ms: int) -> list[Due]:
    """At most one due. An audit that is not in this workspace has no card to compare with."""
    try:
        summary = find_summary(workspace.places.audits, subject.audit, audit_keys(workspace.trust))
    except NotFound:
        return []
    path = workspace.places.audits / summary.audit / CARD_NAME
    try:
        with path.open("rb") as file:
            card = file.read(CARD_BYTES_MAX)
    except FileNotFoundError:
        card = b""
    if "sha256:" + canonical.sha256_hex(card) != summary.probe["card_digest"]:
        message = "the probe's card is not the one that was measured"
        raise Tampered(message, code="card_changed", where=path.name)
    rate = rate_of(card, decision.guard.threshold)
    if rate is None:
        return []
    since_ms = max(subject.reviewed_ms, now_ms - TERMS.drift_days * DAY_MS)
    entries = (data for _, data in workspace.reader.entries())
    due = by_guard_drift(subject, count_traffic(entries, subject, since_ms), rate, now_ms)
    return [] if due is None else [due]
