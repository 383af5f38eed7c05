"""Where every signed decision stands, read from the register that follows the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dutchdoor.errors import NotFound, Refused
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.register import DecisionRegister, Step
from dutchdoor.release.model import HistoryRow, State

__all__ = ["Standing", "history_rows", "latest", "must_be_new", "row_of", "signed", "to_compile"]

_STANDING = frozenset({State.IN_FORCE, State.NOT_YET, State.OVERDUE})


@dataclass(frozen=True)
class Standing:
    """A signed decision, where it stands, and why where it was revoked or rolled back.

    now: the decision in the stage where it stands; None where it was rolled back to nobody.
    """

    decision: Decision
    state: State
    reason: str
    index: int
    now: Decision | None

    @property
    def shown(self) -> Decision:
        """As a page shows it: after a roll-back, only those whom it still lets in."""
        if self.state is State.ROLLED_BACK:
            return replace(self.decision, audiences=())
        return self.now or self.decision


def history_rows(register: DecisionRegister, now_ms: int) -> list[HistoryRow]:
    """All decisions that were ever signed, in the log's order."""
    found = [row for bundle in register.bundles() for row in _standings(register, bundle, now_ms)]
    found.sort(key=lambda row: row.index)
    return [row_of(row.decision, row.state, row.index, row.reason) for row in found]


def latest(register: DecisionRegister, bundle: str) -> Decision | None:
    """The decision that a new one on this bundle would take the place of."""
    steps = register.history(bundle)
    return steps[-1].decision if steps else None


def must_be_new(register: DecisionRegister, decision: Decision, now_ms: int) -> None:
    """Check that `decision` may still come into force.

    Raises Refused: it was signed before, is out of its dates, or takes another's place by now.
    """
    rows = history_rows(register, now_ms)
    known = next((row for row in rows if row.decision == decision.id), None)
    if known is not None:
        message = f"{decision.id} was signed before; it is {known.state}"
        hint = "propose a new decision: dutchdoor release propose"
        raise Refused(message, code="decision_known", hint=hint)
    if now_ms >= decision.ends_ms:
        message = "the decision would be over before it begins"
        hint = "set in_force_until, and terms.review_by, anew"
        raise Refused(message, code="decision_over", hint=hint)
    before = latest(register, decision.bundle)
    if decision.supersedes != (before.id if before else ""):
        message = "the proposal takes the place of another decision than the one in force"
        hint = "another decision was signed or revoked meanwhile: propose anew"
        raise Refused(message, code="decision_replaced", hint=hint)


def signed(register: DecisionRegister, name: str, now_ms: int) -> Standing:
    """The decision of this id, the latest of this bundle, or the latest of the only bundle.

    Raises NotFound: there is none, or no name and several bundles.
    """
    bundles = register.bundles()
    chosen = [name] if name in bundles else bundles if not name and len(bundles) == 1 else []
    for bundle in chosen:
        return _standings(register, bundle, now_ms)[-1]
    for bundle in bundles:
        for row in _standings(register, bundle, now_ms):
            if row.decision.id == name:
                return row
    message = f"no decision or proposal '{name}'" if name else "say which decision"
    raise NotFound(message, code="no_decision", hint="dutchdoor release history")


def to_compile(register: DecisionRegister, now_ms: int) -> list[Decision]:
    """Each bundle's latest decision, where it is not revoked and not over.

    One that is not yet in force, or whose audit is overdue, is among them: when its day comes, or
    an auditor renews the audit, nobody compiles again. Each is in the stage where it stands.
    """
    rows = [_standings(register, bundle, now_ms) for bundle in register.bundles()]
    last = [row[-1] for row in rows if row]
    return [row.now for row in last if row.state in _STANDING and row.now is not None]


def row_of(decision: Decision, state: State, index: int, reason: str) -> HistoryRow:
    """One line of the history."""
    return HistoryRow(
        decision=decision.id,
        bundle=decision.bundle,
        model=decision.model,
        level=str(decision.level),
        stage=decision.stage,
        state=state,
        index=index,
        reason=reason,
    )


def _standings(register: DecisionRegister, bundle: str, now_ms: int) -> list[Standing]:
    steps = register.history(bundle)
    rows = []
    for place, step in enumerate(steps):
        if step.decision is not None:
            state, reason = _state(step.decision, steps[place + 1 :], now_ms)
            now: Decision | None = step.decision
            if step is steps[-1]:
                now = register.stands(bundle, now_ms)
            if state is State.IN_FORCE:
                state, reason = _by_its_audit(register, bundle, now_ms)
            if state is State.IN_FORCE:
                state, reason = _by_its_stage(register, bundle, now_ms)
            rows.append(Standing(step.decision, state, reason, step.index, now))
    return rows


def _state(decision: Decision, later: Sequence[Step], now_ms: int) -> tuple[State, str]:
    if later:
        first = later[0]
        if first.decision is None:
            return State.REVOKED, first.reason
        return State.SUPERSEDED, ""
    if now_ms < decision.not_before_ms:
        return State.NOT_YET, ""
    if now_ms >= decision.not_after_ms:
        return State.EXPIRED, ""
    if now_ms >= decision.ends_ms:
        return State.UNREVIEWED, ""
    return State.IN_FORCE, ""


def _by_its_audit(register: DecisionRegister, bundle: str, now_ms: int) -> tuple[State, str]:
    review = register.review(bundle)
    due = None if review is None else review.overdue(now_ms)
    return (State.IN_FORCE, "") if due is None else (State.OVERDUE, due.detail)


def _by_its_stage(register: DecisionRegister, bundle: str, now_ms: int) -> tuple[State, str]:
    falls = register.falls(bundle, now_ms)
    if not falls:
        return State.IN_FORCE, ""
    claim = falls[-1].claim
    if register.stands(bundle, now_ms) is None:
        return State.ROLLED_BACK, f"rolled back to nobody from '{claim.source}': {claim.reason}"
    words = f"rolled back to '{claim.stage}' from '{claim.source}': {claim.reason}"
    return State.IN_FORCE, words
