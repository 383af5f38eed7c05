"""A roll-back only narrows, nobody forges or withholds it, and nothing comes back by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.errors import DutchdoorError, Invalid, NotInForce, Refused
from dutchdoor.evidence.decision import Audience, Decision, Depth, Level
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.rollback import narrowed
from dutchdoor.evidence.terms import Condition, StageTerms
from dutchdoor.evidence.triggers import check_trigger
from dutchdoor.evidence.trust import encode_trust
from dutchdoor.evidence.verify.history import History
from dutchdoor.evidence.verify.keys import read_trust
from dutchdoor.evidence.verify.report import Findings
from tests.evidence.parts import (
    ALICE,
    BEGIN_MS,
    BOB,
    BUNDLE,
    DECISION,
    HOLDER,
    LOG,
    OTHER_BUNDLE,
    STRANGER,
    TRUST,
    begun,
    decision_entry,
    done,
    due_entry,
    renewal_entry,
    revocation_entry,
    small,
)
from tests.evidence.stage_parts import (
    ALL,
    DUE,
    FLAGS,
    LEAK,
    PLAN,
    SECOND,
    SERIOUS,
    at_stage,
    automatic,
    incident_entry,
    signed_back,
)

NOW_MS = BEGIN_MS + 5
WIDE = at_stage(3)
OPENED = Entry(EntryKind.LOG_OPENED, BEGIN_MS, {"origin": TRUST.log_origin})


class Judged:
    """The same entries, followed by the register and by the lone verifier."""

    def __init__(self, *entries: Entry) -> None:
        self.register = DecisionRegister(None, TRUST)
        self.findings = Findings()
        self._lone = History(read_trust(encode_trust(TRUST)), self.findings)
        self.count = 0
        for entry in (OPENED, *entries):
            self.add(entry)

    def add(self, entry: Entry) -> bool:
        """Follow `entry` as it stands in a log; whether both take it for one that counts."""
        before = (len(self.register.rejected), len(self.findings.rows))
        self.register.follow(self.count, entry.encode())
        self._lone.follow(self.count, entry.encode(), f"entry {self.count}")
        self.count += 1
        house = len(self.register.rejected) == before[0]
        lone = len(self.findings.rows) == before[1]
        if entry.kind in (EntryKind.STAGE_ROLLED_BACK, EntryKind.INCIDENT_RECORDED):
            assert house == lone, self.findings.rows
        return lone

    def stage(self, now_ms: int = NOW_MS) -> str:
        """Where the decision in force stands; the lone verifier is asked by an inference."""
        try:
            return self.register.in_force(BUNDLE, now_ms).decision.stage
        except NotInForce as error:
            return error.code

    def lets_in(self, decision: Decision, person: str, depth: str, name: str) -> bool:
        """Whether an inference may begin; both must say the same."""
        entry = begun(name, decision, person=person, depths=[depth])
        try:
            self.register.admit(entry)
            house = True
        except NotInForce:
            house = False
        assert self.add(entry) == house
        return house


def test_an_incident_of_the_stated_class_brings_the_stage_before_back_by_itself() -> None:
    judged = Judged(decision_entry(WIDE))
    assert judged.stage() == "wide"
    assert judged.lets_in(WIDE, "person_9", "decoding_control", "inf_1")
    assert judged.add(incident_entry("minor"))
    assert judged.stage() == "wide"
    cited = judged.count
    assert judged.add(incident_entry("serious", name="incident_2"))
    # It holds before anybody wrote that it does: whoever writes the log cannot withhold it.
    assert judged.stage() == "all"
    assert not judged.lets_in(WIDE, "person_9", "decoding_control", "inf_2")
    assert judged.lets_in(WIDE, "person_9", "logprobs", "inf_3")
    assert judged.add(automatic(WIDE, "wide", "all", SERIOUS, cited))
    assert judged.stage() == "all"
    assert [fall.index for fall in judged.register.falls(BUNDLE, NOW_MS)] == [judged.count - 1]


def test_a_roll_back_that_only_the_writer_of_the_log_wants_changes_nothing() -> None:
    judged = Judged(decision_entry(WIDE), incident_entry("minor"), due_entry(of=OTHER_BUNDLE))
    for cited in range(judged.count):
        for trigger in (SERIOUS, DUE, FLAGS, LEAK, Condition("because", {})):
            forged = automatic(WIDE, "wide", "all", trigger, cited)
            with pytest.raises(Refused):
                judged.register.admit(forged)
            assert not judged.add(forged)
    assert judged.stage() == "wide"


@pytest.mark.parametrize(
    "said",
    [
        {"stage": "few"},
        {"stage": ""},
        {"from": "all"},
        {"trigger": {}},
        {"trigger": {"kind": "incident_at_least", "arguments": {"class": "minor"}, "entry": 2}},
        {"trigger": {"kind": "incident_at_least", "arguments": {"class": "serious"}, "entry": 1}},
        {"trigger": {"kind": "incident_at_least", "arguments": {"class": "serious"}}},
        {"trigger": {"kind": "leak_reported", "arguments": {}, "entry": 2}},
        {"bundle": OTHER_BUNDLE},
        {"decision": "decision_none"},
        {"reason": " "},
        {"envelope": "AAAA"},
        {"more": "than"},
    ],
)
def test_an_automatic_roll_back_says_exactly_what_the_plan_says(said: dict[str, object]) -> None:
    judged = Judged(decision_entry(WIDE), incident_entry())
    assert not judged.add(automatic(WIDE, "wide", "all", SERIOUS, 2, **said))
    assert judged.add(automatic(WIDE, "wide", "all", SERIOUS, 2))


def test_an_incident_that_nobody_trusted_signed_triggers_nothing() -> None:
    judged = Judged(decision_entry(WIDE))
    for signer in (STRANGER, LOG):
        assert not judged.add(incident_entry(signer=signer))
    assert not judged.add(incident_entry(nature="weights_leaked"))
    assert not judged.add(incident_entry("minor", "death"))
    assert judged.stage() == "wide"


def test_an_incident_on_another_bundle_or_before_the_decision_triggers_nothing() -> None:
    judged = Judged(incident_entry(), decision_entry(WIDE))
    assert judged.add(incident_entry(name="incident_2", of=OTHER_BUNDLE))
    # A later report on what the approvers knew is no news.
    assert judged.add(incident_entry(revision=2))
    assert judged.stage() == "wide"
    assert judged.add(incident_entry("critical", name="incident_3"))
    assert judged.stage() == "all"


def test_an_incident_that_turns_out_graver_triggers_then() -> None:
    judged = Judged(decision_entry(WIDE), incident_entry("minor"))
    assert judged.add(incident_entry("serious", revision=2))
    assert judged.stage() == "all"


def test_the_time_of_awareness_is_never_moved_later_and_no_revision_is_left_out() -> None:
    judged = Judged(decision_entry(WIDE), incident_entry("minor"))
    assert not judged.add(incident_entry("minor", revision=2, aware_ms=BEGIN_MS + 1))
    assert not judged.add(incident_entry("minor", revision=3))
    assert not judged.add(incident_entry("minor", revision=1))
    assert not judged.add(incident_entry("minor", revision=2, of=OTHER_BUNDLE))
    assert judged.add(incident_entry("minor", revision=2, aware_ms=BEGIN_MS - 1))


def test_a_second_incident_takes_another_step_and_the_last_step_lets_nobody_in() -> None:
    judged = Judged(decision_entry(WIDE), incident_entry())
    judged.add(automatic(WIDE, "wide", "all", SERIOUS, 2))
    judged.add(incident_entry(name="incident_2"))
    assert judged.stage() == "few"
    assert judged.lets_in(WIDE, "person_2", "sampling", "inf_1")
    assert not judged.lets_in(WIDE, "person_3", "sampling", "inf_2")
    # The auditors of the first stage were not let in by the wide one: a step back lets nobody in.
    assert not judged.lets_in(WIDE, "person_2", "audit", "inf_3")
    judged.add(incident_entry("serious", "weights_leaked", name="incident_3"))
    assert judged.stage() == "rolled_back"
    assert not judged.lets_in(WIDE, "person_2", "sampling", "inf_4")


def test_what_was_rolled_back_does_not_come_back() -> None:
    judged = Judged(decision_entry(WIDE), signed_back(WIDE, "wide", "few"))
    assert judged.stage() == "few"
    for later in ("few", "all", "wide", "elsewhere"):
        assert not judged.add(signed_back(WIDE, "few", later))
    assert not judged.add(signed_back(WIDE, "wide", "all"))
    assert not judged.add(decision_entry(WIDE))
    assert judged.stage() == "few"
    assert judged.add(decision_entry(at_stage(2)))
    assert judged.stage() == "all"
    # The old decision's roll-back, recorded once more, does not touch the new one.
    assert not judged.add(signed_back(WIDE, "few", ""))
    assert judged.stage() == "all"


def test_a_roll_back_is_signed_by_an_approver_or_the_holder_and_says_what_was_signed() -> None:
    for signer in (STRANGER, LOG):
        assert not Judged(decision_entry(WIDE)).add(signed_back(WIDE, "wide", "few", signer))
    for said in ({"stage": "all"}, {"reason": "other"}, {"from": "all"}, {"bundle": OTHER_BUNDLE}):
        assert not Judged(decision_entry(WIDE)).add(signed_back(WIDE, "wide", "few", ALICE, **said))
    for signer in (ALICE, BOB, HOLDER):
        judged = Judged(decision_entry(WIDE))
        assert judged.add(signed_back(WIDE, "wide", "", signer))
        assert judged.stage() == "rolled_back"


def test_a_signed_roll_back_does_not_undo_one_that_nobody_recorded() -> None:
    judged = Judged(decision_entry(WIDE), incident_entry(), incident_entry(name="incident_2"))
    assert judged.stage() == "few"
    assert not judged.add(signed_back(WIDE, "wide", "all"))
    assert judged.add(signed_back(WIDE, "few", ""))
    assert judged.stage() == "rolled_back"


def test_a_decision_without_a_plan_can_be_rolled_back_to_nobody() -> None:
    judged = Judged(decision_entry(DECISION), incident_entry("critical", "weights_leaked"))
    assert judged.stage() == DECISION.stage
    assert not judged.add(automatic(DECISION, DECISION.stage, "", LEAK, 2))
    assert judged.add(signed_back(DECISION, DECISION.stage, ""))
    assert judged.stage() == "rolled_back"


def test_a_due_rolls_back_from_its_date_on_and_a_late_renewal_brings_nothing_back() -> None:
    judged = Judged(decision_entry(WIDE), due_entry(due_ms=NOW_MS, grace_ms=500))
    assert judged.stage(NOW_MS - 1) == "wide"
    assert judged.stage(NOW_MS) == "all"
    assert not judged.add(automatic(WIDE, "wide", "all", DUE, 2, time_ms=NOW_MS - 1))
    judged.add(renewal_entry(at_ms=NOW_MS + 1))
    assert judged.stage(NOW_MS + 2) == "all"
    assert judged.add(automatic(WIDE, "wide", "all", DUE, 2, time_ms=NOW_MS + 2))


def test_a_due_that_was_settled_before_its_date_rolls_nothing_back() -> None:
    judged = Judged(decision_entry(WIDE), due_entry(due_ms=NOW_MS), renewal_entry())
    assert judged.stage() == "wide"
    assert not judged.add(automatic(WIDE, "wide", "all", DUE, 2, time_ms=NOW_MS))


def judged_traffic(flags: Sequence[bool], decision: Decision = WIDE) -> tuple[Judged, list[int]]:
    """Inferences of which the probe flagged some, and where each one's end stands."""
    judged = Judged(decision_entry(decision))
    ends = []
    for number, flag in enumerate(flags):
        judged.add(begun(f"inf_{number}", decision))
        verdict = {"layer": "probe", "version": "1", "action": "block" if flag else "allow"}
        ends.append(judged.count)
        judged.add(done(judged.count - 1, f"inf_{number}", verdicts=[verdict]))
    return judged, ends


def test_the_guards_rate_on_traffic_rolls_back_where_it_passes_the_bound() -> None:
    judged, ends = judged_traffic([True, True, False, False, False, True, True, True])
    assert judged.stage() == "all"
    assert judged.add(automatic(WIDE, "wide", "all", FLAGS, ends[-1]))
    quiet, ends = judged_traffic([True, True, False, False] * 3)
    assert quiet.stage() == "wide"
    assert not quiet.add(automatic(WIDE, "wide", "all", FLAGS, ends[-1]))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), max_size=12))
def test_both_readers_see_the_bound_passed_at_the_same_inference(flags: list[bool]) -> None:
    _, ends = judged_traffic(flags)
    passed = [n for n in range(3, len(flags)) if sum(flags[n - 3 : n + 1]) > 2]
    for number, end in enumerate(ends):
        entry = automatic(WIDE, "wide", "all", FLAGS, end)
        expected = bool(passed) and number == passed[0]
        again, _ = judged_traffic(flags)
        assert again.add(entry) == expected


WORDS = st.sampled_from(["person_1", "person_2", "person_3"])
ROWS = st.builds(
    Audience,
    st.sampled_from(["researcher", "developer"]),
    st.sets(st.sampled_from([Depth.SAMPLING, Depth.LOGPROBS, Depth.LOGITS]), min_size=1).map(tuple),
    st.sets(WORDS, max_size=2).map(tuple),
)
AUDIENCES = st.lists(ROWS, min_size=1, max_size=3).map(tuple)


@given(AUDIENCES, AUDIENCES, st.sampled_from(Level), WORDS)
def test_no_roll_back_widens_whatever_the_plan_says(
    wide: tuple[Audience, ...], early: tuple[Audience, ...], level: Level, person: str
) -> None:
    plan = (StageTerms("early", level, early), replace(SECOND, audiences=wide))
    decision = at_stage(2, plan)
    found = narrowed(decision, "early")
    for name in ("researcher", "developer"):
        before = decision.depths_for(name, person)
        planned = replace(decision, audiences=early).depths_for(name, person)
        after = found.depths_for(name, person) if found else frozenset()
        assert after == before & planned
    if found:
        order = list(Level)
        assert order.index(found.level) <= min(order.index(level), order.index(decision.level))
        assert found.guard == decision.guard


def test_people_lists_that_share_nobody_let_nobody_in() -> None:
    early = StageTerms("early", Level.CLOUD_API, (replace(ALL, people=("person_1",)),))
    late = replace(SECOND, audiences=(replace(ALL, people=("person_2",)),))
    decision = at_stage(2, (early, late))
    judged = Judged(decision_entry(decision), signed_back(decision, "all", "early"))
    assert judged.stage() == "rolled_back"
    assert not judged.lets_in(decision, "person_1", "sampling", "inf_1")


def test_a_stage_that_is_called_closed_does_not_free_a_decision_of_its_audit() -> None:
    early = replace(PLAN[0], level=Level.FULLY_CLOSED)
    decision = at_stage(2, (early, SECOND))
    judged = Judged(
        decision_entry(decision),
        signed_back(decision, "all", "few"),
        due_entry(due_ms=BEGIN_MS, grace_ms=3),
    )
    assert judged.stage(BEGIN_MS + 2) == "few"
    assert judged.stage(BEGIN_MS + 3) == "audit_overdue"


@pytest.mark.parametrize(
    "row",
    [
        Condition("weather", {}),
        Condition("incident_at_least", {}),
        Condition("incident_at_least", {"class": "awful"}),
        Condition("leak_reported", {"class": "serious"}),
        Condition("audit_due", {"after": "1"}),
        Condition("guard_flag_rate", {"above": "1.5", "inferences": "10"}),
        Condition("guard_flag_rate", {"above": "0.1", "inferences": "0"}),
        Condition("guard_flag_rate", {"above": "1e-1", "inferences": "10"}),
        Condition("guard_flag_rate", {"above": "0.1", "inferences": "100001"}),
    ],
)
def test_a_plan_with_a_trigger_that_nobody_can_check_is_no_decision(row: Condition) -> None:
    with pytest.raises(Invalid):
        check_trigger(row)
    decision = at_stage(2, (PLAN[0], replace(SECOND, roll_back=(row,))))
    judged = Judged()
    with pytest.raises(DutchdoorError):
        judged.register.admit(decision_entry(decision))
    assert not judged.add(decision_entry(decision))
    assert judged.stage() == "none_signed"


def test_a_history_asked_about_an_earlier_place_says_what_held_there() -> None:
    judged = Judged(decision_entry(WIDE), small(1), incident_entry(), small(2))
    judged.add(automatic(WIDE, "wide", "all", SERIOUS, 3))
    register = judged.register
    assert register.at(BUNDLE, 3, NOW_MS).decision.stage == "wide"
    assert register.at(BUNDLE, 4, NOW_MS).decision.stage == "all"
    assert register.at(BUNDLE, 9, None).decision.stage == "all"


def test_a_revoked_decision_stays_revoked_whatever_is_rolled_back() -> None:
    judged = Judged(decision_entry(WIDE), revocation_entry(WIDE))
    judged.add(signed_back(WIDE, "wide", "few"))
    assert judged.stage() == "revoked"
