"""Stages of a workspace's decisions: gates looked at, the next proposed, roll-backs written down.

The log alone says in which stage a decision stands. `RollBacks` is the supervisor's look: what the
plan rolls back by itself holds already, and is recorded so that it can be read.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dutchdoor import canonical
from dutchdoor.app.governance import compile_policies, release_of
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.document import DOCUMENT_BYTES_MAX
from dutchdoor.audit.summary import CARD_NAME, AuditSummary, audit_keys, find_summary
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.rollback import ROLL_BACK_KIND, RollBack, open_roll_back, places
from dutchdoor.evidence.stages import Fall
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.evidence.terms import StageTerms
from dutchdoor.release.model import Proposal
from dutchdoor.release.stages.facts import Audited, Facts, Vote, next_stage
from dutchdoor.release.stages.gates import Answer, Gate, evaluate, gates_before
from dutchdoor.release.stages.simulate import Event, simulate

__all__ = [
    "Outlook",
    "RollBacks",
    "audits_at_hand",
    "only_bundle",
    "outlook",
    "place_in_plan",
    "propose_next",
    "record_pending",
    "replay",
    "roll_back",
]

RETRY_MS = 60_000
_AUDITED = b'"kind":"audit_signed"'

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outlook:
    """Where a decision stands, and what is between it and the next stage of its plan.

    decision: as it was signed. stage: where it stands, "" where nobody is let in. coming: None
    after the last stage. falls: steps back so far.
    """

    decision: Decision
    stage: str
    coming: StageTerms | None
    answers: tuple[Answer, ...]
    falls: tuple[Fall, ...]

    @property
    def open(self) -> bool:
        """Whether all gates are open that can be before people approve."""
        asked = [row for row in self.answers if row.gate.kind != Gate.APPROVALS]
        return self.coming is not None and all(row.met for row in asked)


def outlook(workspace: Workspace, bundle: str | None) -> Outlook:
    """The gates before the next stage of the latest decision on `bundle`, as they stand now.

    bundle: None for the only one that was decided about.
    Raises NotFound: there is no decision with a plan. Raises Invalid: a gate cannot be checked.
    """
    decision, index = _latest(workspace, bundle)
    plan = decision.terms.stages
    if not plan:
        message = f"{decision.id} has no plan of stages"
        hint = "write stages into the terms of the next proposal: docs/concepts/stages.md"
        raise NotFound(message, code="no_plan", hint=hint)
    facts = _facts(workspace, decision, index)
    coming = next_stage(plan, facts.stage)
    if coming is not None:
        facts = replace(facts, approvals=_approvals(workspace, decision, coming))
    gates = () if coming is None else gates_before(plan, coming)
    falls = workspace.register.falls(decision.bundle, facts.now_ms)
    answers = tuple(evaluate(gate, facts) for gate in gates)
    return Outlook(decision, facts.stage, coming, answers, tuple(falls))


def place_in_plan(workspace: Workspace, decision: Decision) -> tuple[str, ...]:
    """Sentences on where a proposed decision stands in the plan that was signed before it.

    None where it is no later stage of that plan. Raises Invalid: a gate cannot be checked.
    """
    try:
        before, index = _latest(workspace, decision.bundle)
    except NotFound:
        return ()
    plan, stage = before.terms.stages, before.terms.stage(decision.stage)
    if stage is None or before.id == decision.id:
        return ()
    facts = _facts(workspace, before, index)
    names = [row.name for row in plan]
    here = names.index(facts.stage) if facts.stage in names else -1
    place = names.index(stage.name)
    if place <= here:
        return ()
    gates = [gate for row in plan[here + 1 : place + 1] for gate in gates_before(plan, row)]
    answers = [evaluate(gate, facts) for gate in gates if gate.kind != Gate.APPROVALS]
    shut = [f"Shut: {row.gate.kind}: {row.text}." for row in answers if not row.met]
    stands = f"It is a later stage, '{stage.name}', of the plan of {before.id}, which stands in "
    lines = [f"{stands}'{facts.stage or 'nobody'}'.", *shut]
    if skipped := ", ".join(f"'{name}'" for name in names[here + 1 : place]):
        lines.append(f"It leaves out {skipped}.")
    bind = "Gates bind the program, not people: whoever approves decides all the same."
    return (*lines, bind if shut else "All gates before it are open.")


def propose_next(workspace: Workspace, bundle: str | None, proposer: str) -> Proposal:
    """Propose the next stage of the signed plan; people approve it as any other proposal.

    Raises Refused: a gate is not open. Raises NotFound: there is no next stage, or no audit.
    """
    found = outlook(workspace, bundle)
    decision, coming = found.decision, found.coming
    if coming is None:
        message = f"'{found.stage}' is the last stage of the plan"
        raise NotFound(message, code="no_next_stage", hint="propose another plan")
    shut = [row for row in found.answers if row.gate.kind != Gate.APPROVALS and not row.met]
    if shut:
        words = "; ".join(f"{row.gate.kind}: {row.text}" for row in shut)
        message = f"not all gates before '{coming.name}' are open: {words}"
        raise Refused(message, code="gate_shut", hint="see 'dutchdoor release gates'")
    audit = _newest_audit(workspace, decision.bundle)
    if audit is None:
        message = "no completed audit of this bundle stands in the log"
        raise NotFound(message, code="no_audit", hint="dutchdoor audit status")
    terms = replace(decision.terms, review_by_ms=0)
    if coming.level is not decision.level:
        # How each component is shared follows the level: people look at it again.
        terms = replace(terms, components=())
    return release_of(workspace).propose(
        audit=audit[1],
        level=str(coming.level),
        stage=coming.name,
        audiences=coming.audiences,
        hidden_size=decision.hidden_size,
        proposer=proposer,
        reasons=_reasons(found),
        terms=terms,
        threshold=decision.guard.threshold,
        hold_back_tokens=decision.guard.hold_back_tokens,
        vectors_max=decision.vectors_max,
    )


def roll_back(
    workspace: Workspace, bundle: str | None, stage: str | None, reason: str, signer: Signer
) -> RollBack:
    """Go back to an earlier stage of the plan: one approver or the holder suffices.

    stage: its name, "" for nobody; None for the one before. What holds by itself is recorded first.
    Raises Refused: no earlier stage, or the signer may not. Raises Invalid: no reason.
    """
    if not reason.strip():
        raise Invalid("a roll-back says why", code="no_reason", hint="give --reason TEXT")
    decision, _ = _latest(workspace, bundle)
    record_pending(workspace, decision.bundle)
    now_ms = workspace.clock.now_ms()
    falls = workspace.register.falls(decision.bundle, now_ms)
    source = falls[-1].stage if falls else decision.stage
    order = places(decision)
    earlier = order[: order.index(source)]
    if not earlier or (stage is not None and stage not in earlier):
        message = f"from '{source or 'nobody'}' there is no way back to '{stage or 'nobody'}'"
        hint = "earlier stages: " + (", ".join(row or "nobody" for row in earlier) or "none")
        raise Refused(message, code="no_earlier_stage", hint=hint)
    chosen = earlier[-1] if stage is None else stage
    claim = RollBack(decision.id, decision.bundle, chosen, source, None, -1, reason.strip())
    envelope = sign_statement(ROLL_BACK_KIND, claim.claim(), [signer])
    body = claim.to_body(base64.b64encode(envelope).decode())
    try:
        open_roll_back(body, workspace.trust)
    except Invalid as error:
        message = f"the key of {signer.name} may not roll back"
        hint = "an approver or the holder does"
        raise Refused(message, code="not_an_approver", hint=hint) from error
    workspace.record(Entry(EntryKind.STAGE_ROLLED_BACK, now_ms, body))
    workspace.register.refresh()
    compile_policies(workspace)
    return claim


def record_pending(workspace: Workspace, bundle: str) -> tuple[Fall, ...]:
    """Write down what the plan rolled back by itself; the policies follow. Gives what was written.

    Another process may write it down first: then there is nothing left to do here.
    Raises Unavailable: it cannot be recorded; it holds all the same.
    """
    register = workspace.register
    register.refresh()
    written, elsewhere = [], 0
    while True:
        now_ms = workspace.clock.now_ms()
        pending = _pending(workspace, bundle, now_ms)
        if not pending:
            break
        body = pending[0].claim.to_body()
        try:
            workspace.record(Entry(EntryKind.STAGE_ROLLED_BACK, now_ms, body))
        except Refused:
            register.refresh()
            if len(_pending(workspace, bundle, now_ms)) >= len(pending):
                raise
            elsewhere += 1
            continue
        register.refresh()
        written.append(pending[0])
    if written or elsewhere:
        compile_policies(workspace)
    return tuple(written)


def _pending(workspace: Workspace, bundle: str, now_ms: int) -> list[Fall]:
    """What the plan rolled back and nobody wrote down, as far as the register has read."""
    return [fall for fall in workspace.register.falls(bundle, now_ms) if fall.index < 0]


class RollBacks:
    """The supervisor's look: writes down what the plan of one bundle rolled back by itself."""

    def __init__(self, workspace: Workspace, bundle: str, say: Say) -> None:
        self._workspace = workspace
        self._bundle = bundle
        self._say = say
        self._retry_at_ms = 0

    def look(self) -> None:
        """Record what is pending. Raises nothing of ours: what cannot be recorded holds anyway."""
        now_ms = self._workspace.clock.now_ms()
        falls = self._workspace.register.falls(self._bundle, now_ms)
        if now_ms < self._retry_at_ms or all(fall.index >= 0 for fall in falls):
            return
        try:
            for fall in record_pending(self._workspace, self._bundle):
                where = fall.stage or "nobody"
                self._say(f"rolled back to {where}: {fall.claim.reason}")
        except DutchdoorError as error:
            self._retry_at_ms = now_ms + RETRY_MS
            self._say(f"a roll-back cannot be recorded: {error.message} [{error.code}]")


def replay(
    workspace: Workspace, decision: Decision, entries: Sequence[tuple[int, Entry]], days_after: int
) -> tuple[Event, ...]:
    """What the plan of `decision` would have done with these entries; see `simulate`."""
    return simulate(decision, entries, audits_at_hand(workspace), days_after=days_after)


def audits_at_hand(workspace: Workspace) -> Mapping[str, Audited]:
    """What gates look at in each completed audit of this workspace, by digest of its summary."""
    found = {}
    for _, data in workspace.reader.entries():
        if _AUDITED in data[-80:]:
            digest = str(Entry.decode(data).body["summary"])
            found[digest] = _audited(workspace, -1, digest)
    return found


def only_bundle(workspace: Workspace) -> str:
    """The only bundle that was ever decided about. Raises NotFound: none, or several."""
    workspace.register.refresh()
    known = workspace.register.bundles()
    if len(known) != 1:
        message = f"decisions were made on {len(known)} bundles; say which"
        raise NotFound(message, code="no_decision", hint="give --bundle")
    return known[0]


def _latest(workspace: Workspace, bundle: str | None) -> tuple[Decision, int]:
    chosen = only_bundle(workspace) if bundle is None else bundle
    workspace.register.refresh()
    steps = workspace.register.history(chosen)
    if not steps or steps[-1].decision is None:
        message = "no decision stands on this bundle"
        raise NotFound(message, code="no_decision", hint="see 'dutchdoor release history'")
    return steps[-1].decision, steps[-1].index


def _facts(workspace: Workspace, decision: Decision, index: int) -> Facts:
    register, bundle = workspace.register, decision.bundle
    now_ms = workspace.clock.now_ms()
    falls = register.falls(bundle, now_ms)
    if falls:
        last = falls[-1]
        stage, since = last.stage, last.since
        since_ms = last.time_ms if last.index >= 0 else now_ms
    else:
        stage, since = decision.stage, index
        _, data = next(iter(workspace.reader.entries(index, index + 1)))
        since_ms = max(Entry.decode(data).time_ms, decision.not_before_ms)
    newest = _newest_audit(workspace, bundle)
    review = register.review(bundle)
    come = () if review is None else tuple(d for d in review.dues if d.due_ms <= now_ms)
    shown = () if review is None else (review.audit, *(due.id or "the period" for due in come))
    return Facts(
        now_ms=now_ms,
        stage=stage,
        since_index=since,
        since_ms=since_ms,
        audit=None if newest is None else _audited(workspace, *newest),
        incidents=register.incidents(bundle),
        votes=_votes(workspace, bundle),
        current=None if review is None else not come,
        current_by=shown,
    )


def _newest_audit(workspace: Workspace, bundle: str) -> tuple[int, str] | None:
    """Index and digest of the bundle's newest completed audit that the register accepted."""
    refused = {row.index for row in workspace.register.rejected}
    found = None
    for index, data in workspace.reader.entries():
        if _AUDITED in data[-80:] and index not in refused:
            body = Entry.decode(data).body
            if body["bundle"] == bundle:
                found = (index, str(body["summary"]))
    return found


def _audited(workspace: Workspace, index: int, digest: str) -> Audited:
    """What can be told of an audit: what is not at hand, or was changed, cannot."""
    try:
        summary = find_summary(workspace.places.audits, digest, audit_keys(workspace.trust))
    except DutchdoorError:
        return Audited(digest, index, None, None, "")
    card = _card(workspace, summary)
    return Audited(digest, index, summary.findings, card, summary.probe["card_digest"])


def _card(workspace: Workspace, summary: AuditSummary) -> Mapping[str, object] | None:
    path = workspace.places.audits / summary.audit / CARD_NAME
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX)
        value = canonical.parse(data)
    except (OSError, Invalid):
        return None
    same = "sha256:" + canonical.sha256_hex(data) == summary.probe["card_digest"]
    return value if same and isinstance(value, dict) else None


def _votes(workspace: Workspace, bundle: str) -> tuple[Vote, ...]:
    rows = [
        Vote(
            panel.id,
            str(panel.result["question"]),
            str(panel.result["outcome"]),
            bool(panel.result["quorum_met"]),
            panel.closed,
        )
        for panel in workspace.register.panels()
        if panel.result is not None and panel.result["bundle"] == bundle
    ]
    return tuple(sorted(rows, key=lambda row: row.index))


def _approvals(workspace: Workspace, decision: Decision, coming: StageTerms) -> int | None:
    """Approvals of the open proposal for `coming`; of several, those of the one with the most."""
    release = release_of(workspace)
    counts = []
    for name in release.proposals():
        try:
            found = release.proposal(name)
        except DutchdoorError:
            continue  # Being edited: nothing counts there now.
        asked = (found.decision.bundle, found.decision.stage, found.decision.supersedes)
        if asked == (decision.bundle, coming.name, decision.id):
            counts.append(len(found.approved_by))
    return max(counts, default=None)


def _reasons(found: Outlook) -> str:
    coming = found.coming
    assert coming is not None, "there is a next stage"
    rows = [
        f"- {row.gate.kind}: {row.text} ({', '.join(row.evidence) or 'no entry'})"
        for row in found.answers
        if row.gate.kind != Gate.APPROVALS
    ]
    return (
        f"The plan of {found.decision.id} names '{coming.name}' as the stage after "
        f"'{found.stage or 'nobody'}'. The program found its gates open:\n\n" + "\n".join(rows)
    )
