"""A release decision from its proposal to its revocation.

The log says what is in force (`evidence.register`); the files here are what people read and edit
on the way there. An approval signs the whole text as it is, so a changed text has no approvals.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dutchdoor.audit.card import NO_CARD, ProbeCard, load_card
from dutchdoor.audit.document import read_document, write_document
from dutchdoor.audit.summary import CARD_NAME, AuditSummary, audit_keys, find_summary
from dutchdoor.clock import Clock
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.decision import (
    REVOCATION_KIND,
    Audience,
    Decision,
    GuardTerms,
    Level,
    Revocation,
    Trust,
    open_decision,
    open_revocation,
)
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.statement import key_id, sign_statement
from dutchdoor.ids import BundleDigest, new_decision_id, random_part
from dutchdoor.release.approvals import Approvals
from dutchdoor.release.birth import put_decision, sign_birth
from dutchdoor.release.compile import write_policies
from dutchdoor.release.model import (
    DAY_MS,
    DEFAULTS,
    Approval,
    HistoryRow,
    Proposal,
    State,
    level_of,
)
from dutchdoor.release.names import Names
from dutchdoor.release.page import decision_page
from dutchdoor.release.ports import Record
from dutchdoor.release.proposal import decision_of, document_of, fresh_body
from dutchdoor.release.standing import history_rows, latest, row_of, signed, to_compile
from dutchdoor.release.terms import must_be_apart, must_be_audited

__all__ = ["Release", "sign_birth"]

_DOCUMENT = "decision.md"
_NAME = re.compile(r"proposal_[0-9a-z]{1,40}")


class Release:
    """Proposals and decisions of a workspace."""

    def __init__(
        self,
        folder: Path,
        *,
        audits: Path,
        trust: Trust,
        register: DecisionRegister,
        record: Record,
        clock: Clock,
    ) -> None:
        """folder: of the proposals. audits: of all audits. register: says what is in force."""
        self._folder = folder
        self._names = Names(folder)
        self._audits = audits
        self._trust = trust
        self._register = register
        self._record = record
        self._clock = clock

    def propose(
        self,
        *,
        audit: str,
        level: str,
        stage: str,
        audiences: Sequence[Audience],
        hidden_size: int,
        proposer: str,
        proposer_key: str = "",
        reasons: str = "",
        safety_margin: str = "",
        void_conditions: str = "",
        heard: Sequence[str] = (),
        threshold: str = DEFAULTS.threshold,
        hold_back_tokens: int = DEFAULTS.hold_back_tokens,
        vectors_max: int | None = None,
        in_force_days: int = DEFAULTS.in_force_days,
        observation_days: int = DEFAULTS.observation_days,
    ) -> Proposal:
        """A new proposal on the bundle of a completed audit, as a document to read and edit.

        audit: digest of its signed summary. audiences: from `model.audience`. proposer: who
        answers for it; proposer_key: the id of their key, if they approve decisions too.
        Where a text is empty, the document says where to write it; the safety margin and the
        conditions have plain defaults.
        Raises NotFound: no such audit. Raises Invalid: an unknown or not offered level, or terms
        that break a rule of decisions.
        """
        summary = find_summary(self._audits, audit, audit_keys(self._trust))
        self._register.refresh()
        before = latest(self._register, summary.bundle)
        now_ms = self._clock.now_ms()
        most = hidden_size // DEFAULTS.vectors_part if vectors_max is None else vectors_max
        decision = Decision(
            id=new_decision_id(),
            bundle=BundleDigest(summary.bundle),
            model=summary.model,
            level=level_of(level),
            stage=stage,
            audiences=tuple(audiences),
            guard=GuardTerms(summary.probe["digest"], threshold, hold_back_tokens),
            hidden_size=hidden_size,
            vectors_max=most,
            audit=summary.digest,
            reasons="",
            supersedes=before.id if before else "",
            not_before_ms=now_ms,
            not_after_ms=now_ms + in_force_days * DAY_MS,
        )
        must_be_audited(decision, summary, self._card(summary))
        body = fresh_body(decision, reasons, safety_margin, void_conditions, heard)
        name = "proposal_" + random_part(12)
        document = document_of(
            name,
            decision,
            body,
            proposed_by=proposer,
            proposed_by_key=proposer_key,
            observation_days=observation_days,
            heard=tuple(heard),
        )
        decision.check()
        write_document(self.document(name), document)
        return self._proposal(name, replace(decision, reasons=document.body))

    def proposals(self) -> tuple[str, ...]:
        """The names of all proposals, sorted."""
        return tuple(sorted(path.parent.name for path in self._folder.glob(f"*/{_DOCUMENT}")))

    def proposal(self, name: str) -> Proposal:
        """A proposal as its document says it now.

        Raises NotFound: none of that name. Raises Invalid: the document states no decision.
        """
        return self._proposal(name, decision_of(read_document(self.document(name))))

    def document(self, name: str) -> Path:
        """The file that people read and edit.

        Raises NotFound: the name is none of a proposal.
        """
        if not _NAME.fullmatch(name):
            message = f"'{name}' is no proposal"
            raise NotFound(message, code="no_proposal", hint="dutchdoor release history")
        return self._folder / name / _DOCUMENT

    def approve(self, name: str, signer: Signer, *, enact: bool = True) -> Approval:
        """Approve a proposal exactly as it reads now; with enough approvals it is in force.

        enact: False where there is no key of the log; then `enact` is called where there is one.
        1. The text states a decision that keeps the rules, on the bundle of its audit.
        2. The signer is an approver, has not approved this text yet, and was not alone.
        3. Approvals of another text are void, kept aside, and named in what this returns.
        4. With enough approvals the entry is made durable; only then is the approval kept.
        Raises Refused: not an approver, a second approval, a decision that was signed, revoked or
        is out of its dates. Raises Invalid: the text. Raises Unavailable: it cannot be recorded;
        nothing changed then.
        """
        decision = self._decidable(name)
        envelope = self._approvals(name).sign(decision, signer)
        named = {key_id(signer.public_key): signer.name}
        return self._take(name, decision, envelope, named, enact=enact)

    def enact(self, name: str, brought: Mapping[str, bytes]) -> Approval:
        """Put a proposal in force by the approvals here and those brought from elsewhere.

        brought: copies of the proposal's approvals.json (unverified), by names for errors.
        Those that count are kept, also where they are still too few.
        Raises Refused: too few approvals, approvals of another text, or as `approve`. Raises
        Invalid: the text, or approvals that do not verify. Raises Unavailable: as `approve`.
        """
        decision = self._decidable(name)
        envelope = self._approvals(name).merge(decision, brought)
        taken = self._take(name, decision, envelope, {}, enact=True)
        if not taken.in_force:
            count = len(taken.approved_by)
            message = f"{count} of {taken.approvals_min} approvals: the decision is not in force"
            hint = "those brought are kept; bring the missing ones with --approvals FILE"
            raise Refused(message, code="approvals_missing", hint=hint)
        return taken

    def revoke(self, decision: str, reason: str, signer: Signer) -> Revocation:
        """Revoke a decision for good: one approver or the holder suffices.

        Running streams are cut by whoever follows the log; nothing comes into force by it.
        Raises NotFound: no such decision was signed. Raises Refused: revoked already, or the
        signer is neither. Raises Unavailable: it cannot be recorded; it is then still in force.
        """
        if not reason.strip():
            message = "a revocation says why"
            raise Invalid(message, code="no_reason", hint="give --reason TEXT")
        row = next((row for row in self.history() if row.decision == decision), None)
        if row is None or row.state is State.PROPOSED:
            message = f"no decision {decision} was signed"
            raise NotFound(message, code="no_decision", hint="dutchdoor release history")
        if row.state is State.REVOKED:
            raise Refused(f"{decision} is revoked already", code="already_revoked")
        body = {"decision": decision, "bundle": row.bundle, "reason": reason.strip()}
        envelope = sign_statement(REVOCATION_KIND, dict(body), [signer])
        try:
            revocation = open_revocation(envelope, self._trust)
        except Invalid as error:
            message = f"the key of {signer.name} may not revoke"
            hint = "an approver or the holder revokes"
            raise Refused(message, code="not_an_approver", hint=hint) from error
        encoded = base64.b64encode(envelope).decode()
        entry_body = {**body, "envelope": encoded}
        now_ms = self._clock.now_ms()
        self._record(Entry(EntryKind.DECISION_REVOKED, now_ms, entry_body))
        self._register.refresh()
        return revocation

    def history(self) -> tuple[HistoryRow, ...]:
        """All decisions that were ever signed, in the log's order, then the open proposals."""
        self._register.refresh()
        rows = history_rows(self._register, self._clock.now_ms())
        known = {row.decision for row in rows}
        for name in self.proposals():
            try:
                decision = decision_of(read_document(self.document(name)))
            except Invalid:
                continue  # Being edited; `proposal` says what is wrong with it.
            if decision.id not in known:
                rows.append(row_of(decision, State.PROPOSED, -1, ""))
        return tuple(rows)

    def show(self, name: str = "") -> str:
        """One page about a proposal or a signed decision, for a reader without the program.

        name: of a proposal, a decision or a bundle; empty for the only bundle there is. Of a
        bundle, its latest decision.
        Raises NotFound: there is none. Raises Invalid: the proposal's text states no decision.
        """
        self._register.refresh()
        if name in self.proposals():
            found = self.proposal(name)
            if found.state is State.PROPOSED:
                return decision_page(
                    found.decision,
                    state=found.state,
                    approved_by=found.approved_by,
                    approvals_min=found.approvals_min,
                    voided=found.voided,
                    summary=self._summary(found.decision),
                )
            name = found.decision.id
        standing = signed(self._register, name, self._clock.now_ms())
        closed = standing.decision.level is Level.FULLY_CLOSED
        return decision_page(
            standing.decision,
            state=standing.state,
            approved_by=("the holder",) if closed else self._approved(standing.decision),
            approvals_min=1 if closed else self._trust.approvals_min,
            why_revoked=standing.reason,
            summary=self._summary(standing.decision),
        )

    def compile(self, policies: Path) -> Path:
        """Write `decision.cedar` from the decisions in force; call it after each change."""
        self._register.refresh()
        return write_policies(policies, to_compile(self._register, self._clock.now_ms()))

    def _proposal(self, name: str, decision: Decision) -> Proposal:
        front = read_document(self.document(name)).front
        count = self._approvals(name).count(decision)
        self._register.refresh()
        rows = history_rows(self._register, self._clock.now_ms())
        states = {row.decision: row.state for row in rows}
        return Proposal(
            id=name,
            decision=decision,
            proposed_by=str(front["proposed_by"]),
            proposed_by_key=str(front["proposed_by_key"]),
            observation_days=int(front["observation_days"]),
            heard=tuple(front["heard"]),
            approved_by=self._names.of(count.approved),
            voided=self._names.of(count.voided),
            approvals_min=self._trust.approvals_min,
            state=states.get(decision.id, State.PROPOSED),
        )

    def _card(self, summary: AuditSummary) -> ProbeCard:
        """The card of the audited probe; none where there is no probe to have one."""
        if not summary.probe["digest"]:
            return NO_CARD
        return load_card(self._audits / summary.audit / CARD_NAME, summary.probe["card_digest"])

    def _must_be_new(self, decision: Decision) -> None:
        self._register.refresh()
        now_ms = self._clock.now_ms()
        rows = history_rows(self._register, now_ms)
        known = next((row for row in rows if row.decision == decision.id), None)
        if known is not None:
            message = f"{decision.id} was signed before; it is {known.state}"
            hint = "propose a new decision: dutchdoor release propose"
            raise Refused(message, code="decision_known", hint=hint)
        if now_ms >= decision.not_after_ms:
            message = "the decision would be over before it begins"
            raise Refused(message, code="decision_over", hint="set in_force_until anew")
        before = latest(self._register, decision.bundle)
        if decision.supersedes != (before.id if before else ""):
            message = "the proposal takes the place of another decision than the one in force"
            hint = "another decision was signed or revoked meanwhile: propose anew"
            raise Refused(message, code="decision_replaced", hint=hint)

    def _approvals(self, name: str) -> Approvals:
        return Approvals(self.document(name).parent, self._trust)

    def _decidable(self, name: str) -> Decision:
        """The decision as its text reads now, where it may be approved at all."""
        decision = decision_of(read_document(self.document(name)))
        level_of(str(decision.level))
        summary = find_summary(self._audits, decision.audit, audit_keys(self._trust))
        must_be_audited(decision, summary, self._card(summary))
        self._must_be_new(decision)
        return decision

    def _take(
        self,
        name: str,
        decision: Decision,
        envelope: bytes,
        named: Mapping[str, str],
        *,
        enact: bool,
    ) -> Approval:
        """Keep the approvals in `envelope`; before that, with enough of them, enact."""
        approvals = self._approvals(name)
        voided = approvals.count(decision).voided
        approved = approvals.signers(envelope)
        must_be_apart(find_summary(self._audits, decision.audit, audit_keys(self._trust)), approved)
        index = None
        if enact and self._enough(name, approved, {**self._names.known(), **named}):
            open_decision(envelope, self._trust)
            index = put_decision(self._record, decision, envelope, self._clock.now_ms()).index
            self._register.refresh()
        approvals.keep(envelope, void_others=bool(voided))
        self._names.learn(named)
        return Approval(
            proposal=name,
            decision=decision,
            approved_by=self._names.of(approved),
            voided=self._names.of(voided),
            approvals_min=self._trust.approvals_min,
            index=index,
        )

    def _enough(self, name: str, approved: Collection[str], names: Mapping[str, str]) -> bool:
        """Enough approvers have signed, and not the proposer alone."""
        if len(approved) < self._trust.approvals_min:
            return False
        front = read_document(self.document(name)).front
        return len(approved) > 1 or not any(
            front["proposed_by_key"] == key or front["proposed_by"] == names.get(key)
            for key in approved
        )

    def _approved(self, decision: Decision) -> tuple[str, ...]:
        """Who approved a signed decision, as far as its proposal's files still tell."""
        for name in self.proposals():
            found = self._approvals(name).count(decision).approved
            if found:
                return self._names.of(found)
        return ()

    def _summary(self, decision: Decision) -> AuditSummary | None:
        if not decision.audit:
            return None
        try:
            return find_summary(self._audits, decision.audit, audit_keys(self._trust))
        except NotFound:
            return None
