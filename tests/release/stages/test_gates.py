"""A gate is open only where something shows it; what cannot be told is not met."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.audit.document import read_yaml
from dutchdoor.audit.model import Finding, FindingStatus, Severity
from dutchdoor.errors import Invalid
from dutchdoor.evidence.incidents import Incident, IncidentClass, IncidentNature
from dutchdoor.evidence.stages import Placed
from dutchdoor.evidence.terms import Condition
from dutchdoor.evidence.triggers import TriggerKind, check_trigger
from dutchdoor.release.model import DAY_MS
from dutchdoor.release.plain import read_terms
from dutchdoor.release.stages.facts import Audited, Facts, Vote, next_stage
from dutchdoor.release.stages.gates import (
    Gate,
    State,
    approvals_asked,
    check_gate,
    check_stages,
    evaluate,
    gates_before,
)
from tests.evidence.stage_parts import PLAN, at_stage

NOW_MS = 1_800_000_000_000
SUMMARY = "sha256:" + "5" * 64
FOUND = Finding("refusal", Severity.HIGH, "safety", "harm", "text", (), FindingStatus.MITIGATED)
SMALL = replace(FOUND, id="small", severity=Severity.LOW, status=FindingStatus.OPEN)
RECALL = {"fpr_0.01": {"value": "0.91", "low": "0.84", "high": "0.95"}}
CARD: dict[str, Any] = {"sources_left_out": {"recall": RECALL}}
FACTS = Facts(
    now_ms=NOW_MS,
    stage="few",
    since_index=4,
    since_ms=NOW_MS - 40 * DAY_MS,
    audit=Audited(SUMMARY, 3, (FOUND, SMALL), CARD, "sha256:" + "6" * 64),
    incidents=(),
    votes=(),
    current=True,
    current_by=(SUMMARY,),
)
BLIND = replace(FACTS, audit=None, current=None, current_by=(), stage="")


def judged(kind: str, facts: Facts = FACTS, /, **words: str) -> State:
    answer = evaluate(Condition(kind, words), facts)
    assert answer.text
    assert answer.evidence or answer.state is not State.MET or kind == "approvals"
    return answer.state


def incident(grade: IncidentClass, days_ago: int, index: int = 9) -> Placed:
    row = Incident(
        "i", 1, "b", grade, IncidentNature.OTHER, NOW_MS - days_ago * DAY_MS, 0, "", SUMMARY
    )
    return Placed(index, NOW_MS - days_ago * DAY_MS, row, None)


def test_a_finding_is_closed_only_where_the_audit_says_so() -> None:
    assert judged("finding_closed", finding="refusal") is State.MET
    assert judged("finding_closed", finding="small") is State.NOT_MET
    assert judged("finding_closed", finding="never-heard-of") is State.UNKNOWN
    assert judged("finding_closed", BLIND, finding="refusal") is State.UNKNOWN


def test_open_findings_count_from_the_severity_on_that_the_gate_names() -> None:
    assert judged("no_open_findings", severity="medium") is State.MET
    assert judged("no_open_findings", severity="low") is State.NOT_MET
    unread = replace(FACTS, audit=replace(FACTS.audit, findings=None))  # type: ignore[type-var]
    assert judged("no_open_findings", unread, severity="low") is State.UNKNOWN


def test_recall_is_the_cards_and_a_card_that_is_not_at_hand_meets_nothing() -> None:
    rate = {"threshold": "fpr_0.01"}
    assert judged("guard_recall_at_least", **rate, recall="0.91") is State.MET
    assert judged("guard_recall_at_least", **rate, recall="0.92") is State.NOT_MET
    assert judged("guard_recall_at_least", **rate, recall="0.9", figure="low") is State.NOT_MET
    assert judged("guard_recall_at_least", threshold="other", recall="0") is State.UNKNOWN
    gone = replace(FACTS, audit=replace(FACTS.audit, card=None))  # type: ignore[type-var]
    assert judged("guard_recall_at_least", gone, **rate, recall="0") is State.UNKNOWN
    odd = {"sources_left_out": {"recall": {"fpr_0.01": {"value": "nan"}}}}
    strange = replace(FACTS, audit=replace(FACTS.audit, card=odd))  # type: ignore[type-var]
    assert judged("guard_recall_at_least", strange, **rate, recall="0") is State.UNKNOWN


def test_days_without_incident_are_days_of_this_stage() -> None:
    words = {"days": "30", "class": "serious"}
    assert judged("days_without_incident", **words) is State.MET
    mild = replace(FACTS, incidents=(incident(IncidentClass.MINOR, 1),))
    assert judged("days_without_incident", mild, **words) is State.MET
    bad = replace(FACTS, incidents=(incident(IncidentClass.CRITICAL, 29),))
    assert judged("days_without_incident", bad, **words) is State.NOT_MET
    young = replace(FACTS, since_ms=NOW_MS - 29 * DAY_MS)
    assert judged("days_without_incident", young, **words) is State.NOT_MET
    assert judged("days_without_incident", BLIND, **words) is State.NOT_MET


def test_days_are_whole_days_and_nobody_observes_nothing() -> None:
    assert judged("days_observed", days="40") is State.MET
    assert judged("days_observed", days="41") is State.NOT_MET
    assert judged("days_observed", BLIND, days="1") is State.NOT_MET


def test_a_panel_counts_with_its_quorum_its_question_and_since_this_stage_began() -> None:
    vote = Vote("panel_1", "Open it?", "yes", quorum_met=True, index=7)
    for row, state in (
        (vote, State.MET),
        (replace(vote, outcome="no"), State.NOT_MET),
        (replace(vote, quorum_met=False), State.NOT_MET),
        (replace(vote, index=4), State.UNKNOWN),
        (replace(vote, question="Close it?"), State.UNKNOWN),
    ):
        facts = replace(FACTS, votes=(row,))
        assert judged("panel_vote", facts, outcome="yes", question="Open it?") is state
    overruled = replace(FACTS, votes=(vote, replace(vote, outcome="no", index=8)))
    assert judged("panel_vote", overruled, outcome="yes") is State.NOT_MET


def test_an_audit_that_is_due_or_missing_is_not_current() -> None:
    assert judged("audit_current") is State.MET
    assert judged("audit_current", replace(FACTS, current=False)) is State.NOT_MET
    assert judged("audit_current", BLIND) is State.UNKNOWN


def test_approvals_are_of_what_is_proposed() -> None:
    assert judged("approvals", count="3") is State.UNKNOWN
    assert judged("approvals", replace(FACTS, approvals=2), count="3") is State.NOT_MET
    assert judged("approvals", replace(FACTS, approvals=3), count="3") is State.MET
    stage = replace(PLAN[2], gates=(Condition("approvals", {"count": "3"}),))
    assert approvals_asked(at_stage(3, (*PLAN[:2], stage))) == 3
    assert approvals_asked(at_stage(2)) == 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("trust_us", {}),
        ("finding_closed", {}),
        ("finding_closed", {"finding": " "}),
        ("no_open_findings", {"severity": "awful"}),
        ("guard_recall_at_least", {"threshold": "fpr_0.01", "recall": "1.5"}),
        ("guard_recall_at_least", {"threshold": "fpr_0.01", "recall": "9e9"}),
        ("guard_recall_at_least", {"threshold": "t", "recall": "1", "figure": "high"}),
        ("days_without_incident", {"days": "0", "class": "serious"}),
        ("days_without_incident", {"days": "9", "class": "bad"}),
        ("days_observed", {"days": "9999"}),
        ("days_observed", {"days": "1", "hours": "2"}),
        ("approvals", {"count": "-1"}),
    ],
)
def test_a_gate_that_nobody_could_check_is_refused_before_it_is_signed(
    kind: str, words: dict[str, str]
) -> None:
    gate = Condition(kind, words)
    with pytest.raises(Invalid):
        check_gate(gate)
    with pytest.raises(Invalid):
        evaluate(gate, FACTS)
    with pytest.raises(Invalid):
        check_stages(at_stage(3, (*PLAN[:2], replace(PLAN[2], gates=(gate,)))))


def test_the_next_stage_is_the_plans_and_is_watched_for() -> None:
    assert [row.name if row else "" for row in (next_stage(PLAN, "few"), next_stage(PLAN, ""))] == [
        "all",
        "few",
    ]
    assert next_stage(PLAN, "wide") is None
    assert gates_before(PLAN, PLAN[0]) == ()
    assert gates_before(PLAN, PLAN[1]) == (Condition("days_observed", {"days": "30"}),)


def test_the_plan_on_the_page_can_be_checked_and_the_page_names_every_condition() -> None:
    page = (Path(__file__).parents[3] / "docs" / "concepts" / "stages.md").read_text()
    found = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    terms = read_terms(read_yaml(found[1], where="the page", fenced=False))
    for stage in terms.stages:
        for gate in stage.gates:
            check_gate(gate)
        for row in stage.roll_back:
            check_trigger(row)
    assert all(f"| `{word}` |" in page for word in [*Gate, *TriggerKind])
