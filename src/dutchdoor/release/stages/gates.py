"""The gates before a stage: a closed vocabulary, each judged with what shows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any

from dutchdoor.audit.model import FindingStatus, Severity
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.incidents import IncidentClass
from dutchdoor.evidence.stages import check_plan
from dutchdoor.evidence.terms import Condition, StageTerms
from dutchdoor.release.model import DAY_MS
from dutchdoor.release.stages.facts import Facts

__all__ = [
    "Answer",
    "Gate",
    "State",
    "approvals_asked",
    "check_gate",
    "check_stages",
    "evaluate",
    "gates_before",
]

DAYS_MAX = 3_650
_PART = re.compile(r"1|0|[01]\.[0-9]{1,6}")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")


class Gate(StrEnum):
    """What must hold before a stage is proposed."""

    FINDING_CLOSED = "finding_closed"
    NO_OPEN_FINDINGS = "no_open_findings"
    GUARD_RECALL = "guard_recall_at_least"
    NO_INCIDENT = "days_without_incident"
    OBSERVED = "days_observed"
    APPROVALS = "approvals"
    PANEL = "panel_vote"
    AUDIT_CURRENT = "audit_current"


class State(StrEnum):
    """How a gate stands. What cannot be told is not met."""

    MET = "met"
    NOT_MET = "not met"
    UNKNOWN = "cannot be told"


@dataclass(frozen=True)
class Answer:
    """One gate, judged. evidence: entries of the log (`entry 12`) and digests that show it."""

    gate: Condition
    state: State
    text: str
    evidence: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether the gate is open."""
        return self.state is State.MET


_NEEDED: Mapping[Gate, tuple[frozenset[str], frozenset[str]]] = {
    Gate.FINDING_CLOSED: (frozenset({"finding"}), frozenset()),
    Gate.NO_OPEN_FINDINGS: (frozenset({"severity"}), frozenset()),
    Gate.GUARD_RECALL: (frozenset({"threshold", "recall"}), frozenset({"figure"})),
    Gate.NO_INCIDENT: (frozenset({"days", "class"}), frozenset()),
    Gate.OBSERVED: (frozenset({"days"}), frozenset()),
    Gate.APPROVALS: (frozenset({"count"}), frozenset()),
    Gate.PANEL: (frozenset({"outcome"}), frozenset({"question", "panel"})),
    Gate.AUDIT_CURRENT: (frozenset(), frozenset()),
}
_WORDS: Mapping[str, Callable[[str], bool]] = {
    "severity": lambda text: text in list(Severity),
    "class": lambda text: text in list(IncidentClass),
    "figure": lambda text: text in {"value", "low"},
    "recall": lambda text: bool(_PART.fullmatch(text)) and Fraction(text) <= 1,
    "days": lambda text: bool(_COUNT.fullmatch(text)) and int(text) <= DAYS_MAX,
    "count": lambda text: bool(_COUNT.fullmatch(text)),
}


def check_gate(gate: Condition) -> Gate:
    """The kind of a plan's gate.

    Raises Invalid: an unknown kind, or arguments that it does not have or that are out of bounds.
    """
    try:
        kind = Gate(gate.kind)
    except ValueError as error:
        hint = "known: " + ", ".join(Gate)
        raise Invalid(f"no gate '{gate.kind}'", code="unknown_condition", hint=hint) from error
    needed, optional = _NEEDED[kind]
    if not needed <= gate.arguments.keys() <= needed | optional:
        hint = "it takes: " + (", ".join(sorted(needed | optional)) or "none")
        raise Invalid(f"{kind}: wrong arguments", code="bad_condition", hint=hint)
    for name, text in gate.arguments.items():
        fits = _WORDS[name](text) if name in _WORDS else bool(text.strip())
        if not fits:
            message = f"{kind}: '{text}' is no {name}"
            raise Invalid(message, code="bad_condition", hint="docs/concepts/stages.md has them")
    return kind


def check_stages(decision: Decision) -> None:
    """Raises Invalid: a gate or a roll-back condition of the decision's plan cannot be checked."""
    check_plan(decision)
    for stage in decision.terms.stages:
        for gate in stage.gates:
            check_gate(gate)


def approvals_asked(decision: Decision) -> int:
    """How many approvals the plan asks for the decision's own stage; 0 where it says nothing."""
    stage = decision.terms.stage(decision.stage)
    rows = [] if stage is None else [row for row in stage.gates if row.kind == Gate.APPROVALS]
    return max((int(row.arguments["count"]) for row in rows), default=0)


def gates_before(plan: Sequence[StageTerms], stage: StageTerms) -> tuple[Condition, ...]:
    """All gates of `stage`: those it names, and how long the stage before must be watched."""
    if stage.name == plan[0].name or not stage.observation_days:
        return stage.gates
    days = str(min(stage.observation_days, DAYS_MAX))
    return (*stage.gates, Condition(Gate.OBSERVED, {"days": days}))


def evaluate(gate: Condition, facts: Facts) -> Answer:
    """The gate as it stands at `facts.now_ms`.

    Raises Invalid: as `check_gate`.
    """
    kind = check_gate(gate)
    state, text, evidence = _JUDGES[kind](gate.arguments, facts)
    return Answer(gate, state, text, evidence)


_Judged = tuple[State, str, tuple[str, ...]]


def _of(met: bool) -> State:
    return State.MET if met else State.NOT_MET


def _finding(words: Mapping[str, str], facts: Facts) -> _Judged:
    audit = facts.audit
    if audit is None or audit.findings is None:
        return State.UNKNOWN, "no completed audit is at hand", ()
    shown = (audit.summary, _entry(audit.index))
    row = next((row for row in audit.findings if row.id == words["finding"]), None)
    if row is None:
        # An audit that says nothing of it may have found it gone, or not have looked.
        return State.UNKNOWN, f"the audit names no finding '{words['finding']}'", shown
    closed = row.status is not FindingStatus.OPEN
    return _of(closed), f"finding {row.id} is {row.status}", shown


def _no_findings(words: Mapping[str, str], facts: Facts) -> _Judged:
    audit, order = facts.audit, list(Severity)
    if audit is None or audit.findings is None:
        return State.UNKNOWN, "no completed audit is at hand", ()
    least = order.index(Severity(words["severity"]))
    still = [
        row.id
        for row in audit.findings
        if row.status is FindingStatus.OPEN and order.index(row.severity) >= least
    ]
    text = f"open: {', '.join(still)}" if still else f"none open at {words['severity']} or above"
    return _of(not still), text, (audit.summary, _entry(audit.index))


def _recall(words: Mapping[str, str], facts: Facts) -> _Judged:
    audit = facts.audit
    if audit is None or audit.card is None:
        return State.UNKNOWN, "the audited probe's card is not at hand", ()
    shown = (audit.card_digest, audit.summary, _entry(audit.index))
    found: Any = audit.card
    figure = words.get("figure", "value")
    for name in ("sources_left_out", "recall", words["threshold"], figure):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, str) or not re.fullmatch(r"[01](\.[0-9]{1,12})?", found):
        text = f"the card has no recall at {words['threshold']} on sources left out"
        return State.UNKNOWN, text, shown
    met = Fraction(found) >= Fraction(words["recall"])
    return _of(met), f"recall at {words['threshold']}: {found} ({figure})", shown


def _no_incident(words: Mapping[str, str], facts: Facts) -> _Judged:
    if not facts.stage:
        return State.NOT_MET, "no stage is in force", ()
    days, grade = int(words["days"]), IncidentClass(words["class"])
    rows = [row for row in facts.incidents if row.incident.grade.at_least(grade)]
    last = rows[-1] if rows else None
    from_ms = max(facts.since_ms, last.time_ms if last else 0)
    passed = (facts.now_ms - from_ms) // DAY_MS
    shown = (_entry(facts.since_index), *((_entry(last.index),) if last else ()))
    text = f"{passed} of {days} days in this stage without an incident of class {grade}"
    return _of(passed >= days), text, shown


def _observed(words: Mapping[str, str], facts: Facts) -> _Judged:
    if not facts.stage:
        return State.NOT_MET, "no stage is in force", ()
    passed = (facts.now_ms - facts.since_ms) // DAY_MS
    text = f"{passed} of {words['days']} days in stage '{facts.stage}'"
    return _of(passed >= int(words["days"])), text, (_entry(facts.since_index),)


def _approvals(words: Mapping[str, str], facts: Facts) -> _Judged:
    if facts.approvals is None:
        return State.UNKNOWN, "nothing is proposed that could be approved", ()
    text = f"{facts.approvals} of {words['count']} approvals"
    return _of(facts.approvals >= int(words["count"])), text, ()


def _panel(words: Mapping[str, str], facts: Facts) -> _Judged:
    asked = [
        row
        for row in facts.votes
        if words.get("panel", row.panel) == row.panel
        and words.get("question", row.question) == row.question
        and row.index > facts.since_index
    ]
    if not asked:
        return State.UNKNOWN, "no such panel was closed since this stage began", ()
    last = asked[-1]
    met = last.quorum_met and last.outcome == words["outcome"]
    quorum = "" if last.quorum_met else ", without its quorum"
    text = f"panel {last.panel} says '{last.outcome}'{quorum}"
    return _of(met), text, (_entry(last.index),)


def _current(_: Mapping[str, str], facts: Facts) -> _Judged:
    if facts.current is None:
        return State.UNKNOWN, "no audit stands under this decision", ()
    text = "nothing makes the audit due" if facts.current else "the audit is due"
    return _of(facts.current), text, facts.current_by


_JUDGES: Mapping[Gate, Callable[[Mapping[str, str], Facts], _Judged]] = {
    Gate.FINDING_CLOSED: _finding,
    Gate.NO_OPEN_FINDINGS: _no_findings,
    Gate.GUARD_RECALL: _recall,
    Gate.NO_INCIDENT: _no_incident,
    Gate.OBSERVED: _observed,
    Gate.APPROVALS: _approvals,
    Gate.PANEL: _panel,
    Gate.AUDIT_CURRENT: _current,
}


def _entry(index: int) -> str:
    return f"entry {index}"
