"""A replay says when each gate would have opened and what would have been rolled back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dutchdoor.errors import Invalid
from dutchdoor.evidence.incidents import IncidentClass, IncidentNature
from dutchdoor.evidence.model import Entry
from dutchdoor.evidence.terms import Condition
from dutchdoor.release.model import DAY_MS
from dutchdoor.release.stages.clocks import clocks
from dutchdoor.release.stages.simulate import Event, hypothetical, simulate
from tests.evidence.parts import BEGIN_MS, BUNDLE
from tests.evidence.stage_parts import PLAN, at_stage, incident_entry
from tests.evidence.test_stages import OPENED
from tests.release.stages.test_gates import NOW_MS, incident

QUIET = Condition("days_without_incident", {"days": "20", "class": "serious"})
FINDING = Condition("finding_closed", {"finding": "refusal"})
WATCHED = (
    PLAN[0],
    replace(PLAN[1], gates=(QUIET, Condition("approvals", {"count": "9"})), observation_days=10),
    replace(PLAN[2], gates=(FINDING,), observation_days=5),
)


def day(number: int, kind: str, **body: Any) -> dict[str, Any]:
    return {"kind": kind, "time_ms": BEGIN_MS + number * DAY_MS, "body": body}


def run(*rows: dict[str, Any], days_after: int = 0) -> list[tuple[int, str, str]]:
    entries = hypothetical([day(0, "log_opened"), *rows], BUNDLE)
    return told(simulate(at_stage(1, WATCHED), entries, {}, days_after=days_after))


def told(events: tuple[Event, ...]) -> list[tuple[int, str, str]]:
    return [((e.time_ms - BEGIN_MS) // DAY_MS, e.what, e.stage) for e in events]


def audit(status: str) -> dict[str, Any]:
    return {"findings": [{"id": "refusal", "severity": "high", "status": status}]}


def test_a_stage_is_entered_on_the_day_on_which_its_last_gate_opens() -> None:
    assert run(days_after=60) == [
        (0, "entered", "few"),
        (10, "opened", "all"),
        (20, "opened", "all"),
        (20, "entered", "all"),
        (21, "unknown", "wide"),
        (25, "opened", "wide"),
    ]


def test_a_finding_that_is_settled_later_opens_the_gate_then() -> None:
    found = run(
        day(30, "audit_signed", **audit("open")),
        day(40, "audit_signed", **audit("mitigated")),
    )
    assert found[-2:] == [(40, "opened", "wide"), (40, "entered", "wide")]


def test_an_incident_rolls_back_shuts_the_gate_and_starts_the_days_anew() -> None:
    found = run(day(30, "incident_recorded", **{"class": "critical"}), days_after=30)
    assert found[4:] == [
        (21, "unknown", "wide"),
        (25, "opened", "wide"),
        (30, "rolled_back", "few"),
        (40, "opened", "all"),
        (50, "opened", "all"),
        (50, "entered", "all"),
        (51, "unknown", "wide"),
        (55, "opened", "wide"),
    ]


def test_two_incidents_lead_to_nobody_and_the_plan_begins_again_only_by_its_gates() -> None:
    again = {"class": "serious"}
    found = run(
        day(30, "incident_recorded", **again),
        day(31, "incident_recorded", **again),
    )
    assert [row for row in found if row[1] == "rolled_back"] == [
        (30, "rolled_back", "few"),
        (31, "rolled_back", "nobody"),
    ]


def test_what_was_really_recorded_is_replayed_too_and_nothing_is_written() -> None:
    late = replace(incident_entry("critical"), time_ms=BEGIN_MS + 22 * DAY_MS)
    entries: list[tuple[int, Entry]] = [(0, OPENED), (1, late)]
    events = simulate(at_stage(1, WATCHED), entries, {})
    assert told(events)[-1] == (22, "rolled_back", "few")
    assert events[-1].evidence == ("entry 1",)


def test_what_is_no_plan_no_entry_or_too_long_is_refused() -> None:
    entries = hypothetical([day(0, "log_opened")], BUNDLE)
    with pytest.raises(Invalid):
        simulate(at_stage(1, WATCHED), [], {})
    with pytest.raises(Invalid):
        simulate(replace(at_stage(1), terms=replace(at_stage(1).terms, stages=())), entries, {})
    with pytest.raises(Invalid):
        simulate(at_stage(1, WATCHED), entries, {}, days_after=4_000)
    for row in ({}, {"kind": "weather", "time_ms": 1}, {"kind": "log_opened", "time_ms": "now"}):
        with pytest.raises(Invalid):
            hypothetical([row], BUNDLE)
    bad = hypothetical([day(0, "incident_recorded", **{"class": "awful"})], BUNDLE)
    with pytest.raises(Invalid):
        simulate(at_stage(1, WATCHED), bad, {})


def test_the_clocks_of_an_incident_are_those_of_the_code() -> None:
    row = incident(IncidentClass.CRITICAL, 0)
    for nature, days in (("infrastructure", 2), ("weights_leaked", 5), ("breach", 5)):
        first = replace(row, incident=replace(row.incident, nature=IncidentNature(nature)))
        (clock,) = clocks([first])
        assert clock.due_ms == NOW_MS + days * DAY_MS
        assert clock.state(NOW_MS) == "running"
        assert clock.state(clock.due_ms) == "overdue"
        told_ms = NOW_MS + 6 * DAY_MS
        sent = replace(first.incident, revision=2, report="initial")
        second = replace(first, incident=sent, time_ms=told_ms)
        initial, between = clocks([first, second])
        assert initial.state(told_ms) == "late"
        assert between.due_ms == told_ms + 28 * DAY_MS
        done = replace(sent, revision=3, report="", resolved_ms=told_ms)
        initial, final = clocks([first, second, replace(second, incident=done)])
        assert (final.report, final.due_ms) == ("final", told_ms + 60 * DAY_MS)
    assert clocks([row]) == ()
