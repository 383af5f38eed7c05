"""A release decision from its proposal to its revocation.

The log says what is in force (`evidence.register`); the files here are what people read and edit
on the way there. An approval signs the whole text as it is, so a changed text has no approvals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dutchdoor.audit.card import NO_CARD, ProbeCard, load_card
from dutchdoor.audit.document import read_document, write_document
from dutchdoor.audit.people import must_decide
from dutchdoor.audit.summary import CARD_NAME, AuditSummary, audit_keys, find_summary
from dutchdoor.clock import Clock
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.decision import (
    Audience,
    Decision,
    Level,
    Revocation,
    Trust,
    open_decision,
)
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.statement import key_id
from dutchdoor.evidence.terms import NO_TERMS, Terms
from dutchdoor.ids import random_part
from dutchdoor.release.approvals import Approvals
from dutchdoor.release.birth import put_decision, sign_birth
from dutchdoor.release.compile import write_policies
from dutchdoor.release.drafting import Wish, draft
from dutchdoor.release.model import (
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
from dutchdoor.release.profiles.model import NO_PROFILE, Profile, must_be_met
from dutchdoor.release.profiles.reading import choose, load_profiles
from dutchdoor.release.proposal import decision_of, document_of, fresh_body
from dutchdoor.release.quorum import Quorum
from dutchdoor.release.revoking import sign_revocation
from dutchdoor.release.standing import (
    history_rows,
    latest,
    must_be_new,
    row_of,
    signed,
    to_compile,
)
from dutchdoor.release.terms import must_be_apart, must_stand

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
        profiles: Mapping[str, Profile] | None = None,
        profile: str = "",
    ) -> None:
        """folder: of the proposals. audits: of all audits. register: says what is in force.

        profiles: deployment profiles by name; None: those that ship. profile: the one that every
        decision must be made under; "" leaves it to the proposal.
        """
        self._folder = folder
        self._names = Names(folder)
        self._audits = audits
        self._trust = trust
        self._register = register
        self._record = record
        self._clock = clock
        self._quorum = Quorum(trust, self._names)
        self._profiles = load_profiles() if profiles is None else profiles
        self._profile_required = profile

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
        terms: Terms = NO_TERMS,
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
        Where there are no reasons, the document says where to write them. terms: what they leave
        open has its default (`terms.complete`); what the deployment profile demands and nobody
        named has a place to write in. heard: besides those in `terms`.
        Raises NotFound: no such audit. Raises Invalid: an unknown or not offered level, an unknown
        profile, or terms that break a rule of decisions.
        """
        summary = find_summary(self._audits, audit, audit_keys(self._trust))
        self._register.refresh()
        before = latest(self._register, summary.bundle)
        terms = replace(terms, profile=terms.profile or self._profile_required or NO_PROFILE)
        decision = draft(
            Wish(
                level=level,
                stage=stage,
                audiences=audiences,
                hidden_size=hidden_size,
                threshold=threshold,
                hold_back_tokens=hold_back_tokens,
                vectors_max=vectors_max,
                in_force_days=in_force_days,
                terms=terms,
                heard=heard,
            ),
            summary,
            self._profile(terms),
            supersedes=before.id if before else "",
            now_ms=self._clock.now_ms(),
        )
        must_stand(decision, summary, self._card(summary), self._audits)
        body = fresh_body(decision, reasons)
        name = "proposal_" + random_part(12)
        document = document_of(
            name,
            decision,
            body,
            proposed_by=proposer,
            proposed_by_key=proposer_key,
            observation_days=observation_days,
        )
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
        decision = self.check(name)
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
        decision = self.check(name)
        envelope = self._approvals(name).merge(decision, brought)
        taken = self._take(name, decision, envelope, {}, enact=True)
        if not taken.in_force:
            count = len(taken.approved_by)
            missing = ", ".join(taken.outside_missing)
            message = f"{count} of {taken.approvals_min} approvals: the decision is not in force"
            message += f"; the signature of {missing} is missing" if missing else ""
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
        revocation, entry_body = sign_revocation(
            decision, row.bundle, reason.strip(), signer, self._trust
        )
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

    def show(self, name: str = "", in_plan: Sequence[str] = ()) -> str:
        """One page about a proposal or a signed decision, for a reader without the program.

        name: of a proposal, a decision or a bundle; empty for the only bundle there is. Of a
        bundle, its latest decision. in_plan: sentences on where a proposal stands in a plan.
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
                    outside_by=found.outside_by,
                    outside_missing=found.outside_missing,
                    voided=found.voided,
                    summary=self._summary(found.decision),
                    in_plan=in_plan,
                )
            name = found.decision.id
        standing = signed(self._register, name, self._clock.now_ms())
        closed = standing.decision.level is Level.FULLY_CLOSED
        keys = self._register.signers(standing.decision.id)
        return decision_page(
            standing.shown,
            state=standing.state,
            approved_by=("the holder",) if closed else self._quorum.approvers(keys),
            outside_by=self._quorum.outside(standing.decision, keys),
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
            heard=decision.terms.heard or tuple(front.get("heard", ())),
            approved_by=self._quorum.approvers(count.approved),
            voided=self._names.of(count.voided),
            approvals_min=self._trust.approvals_min,
            state=states.get(decision.id, State.PROPOSED),
            outside_by=self._quorum.outside(decision, count.approved),
            outside_missing=self._quorum.missing(decision, count.approved),
        )

    def _card(self, summary: AuditSummary) -> ProbeCard:
        """The card of the audited probe; none where there is no probe to have one."""
        if not summary.probe["digest"]:
            return NO_CARD
        return load_card(self._audits / summary.audit / CARD_NAME, summary.probe["card_digest"])

    def _approvals(self, name: str) -> Approvals:
        return Approvals(self.document(name).parent, self._trust)

    def check(self, name: str) -> Decision:
        """The decision as its text reads now, where it may be approved at all; nobody signs.

        Raises as `approve`, but for what is about the signer.
        """
        decision = decision_of(read_document(self.document(name)))
        level_of(str(decision.level))
        summary = find_summary(self._audits, decision.audit, audit_keys(self._trust))
        must_stand(decision, summary, self._card(summary), self._audits)
        profile = self._profile(decision.terms)
        must_be_met(profile, decision.terms, decision.not_before_ms, self._trust.outside)
        self._register.refresh()
        must_be_new(self._register, decision, self._clock.now_ms())
        return decision

    def _profile(self, terms: Terms) -> Profile:
        """The profile that the terms name, where a decision here may be made under it."""
        required, name = self._profile_required, terms.profile or NO_PROFILE
        if required and name != required:
            message = f"decisions here are made under profile {required}, not {name}"
            hint = f"set terms.profile to {required}; 'dutchdoor release profiles' says what it is"
            raise Invalid(message, code="other_profile", hint=hint)
        return choose(self._profiles, name)

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
        summary = find_summary(self._audits, decision.audit, audit_keys(self._trust))
        must_be_apart(summary, approved)
        approvers = self._trust.approvers
        must_decide(self._audits, decision.bundle, summary.audit, approved, approvers)
        index = None
        front = read_document(self.document(name)).front
        if enact and self._quorum.reached(decision, approved, front, named):
            open_decision(envelope, self._trust)
            index = put_decision(self._record, decision, envelope, self._clock.now_ms()).index
            self._register.refresh()
        approvals.keep(envelope, void_others=bool(voided))
        self._names.learn(named)
        return Approval(
            proposal=name,
            decision=decision,
            approved_by=self._quorum.approvers(approved),
            voided=self._names.of(voided),
            approvals_min=self._trust.approvals_min,
            index=index,
            outside_by=self._quorum.outside(decision, approved),
            outside_missing=self._quorum.missing(decision, approved),
        )

    def _summary(self, decision: Decision) -> AuditSummary | None:
        if not decision.audit:
            return None
        try:
            return find_summary(self._audits, decision.audit, audit_keys(self._trust))
        except NotFound:
            return None
