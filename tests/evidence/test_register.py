"""Which decision is in force: the latest that verifies, never a revoked or replayed one."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from dutchdoor.errors import NotInForce, Refused
from dutchdoor.evidence.decision import Decision, Level
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.model import Entry, Recorded
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.reaudit import PERIOD_MS
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.trust import encode_trust, log_key
from dutchdoor.evidence.verify.verifier import verify
from dutchdoor.ids import DecisionId
from tests.check_log import check_log
from tests.evidence.parts import (
    ALICE,
    BEGIN_MS,
    BOB,
    BUNDLE,
    CLOSED,
    DECISION,
    END_MS,
    HOLDER,
    OTHER_BUNDLE,
    STRANGER,
    TRUST,
    Workspace,
    audit_signed,
    begun,
    decision_entry,
    due_entry,
    key_released,
    renewal_entry,
    revocation_entry,
    runtime_started,
    small,
)

NOW_MS = BEGIN_MS + 5


def second(name: str = "decision_two") -> Decision:
    return replace(DECISION, id=DecisionId(name), stage="2")


def register_of(*entries: Entry) -> DecisionRegister:
    register = DecisionRegister(None, TRUST)
    for index, entry in enumerate(entries):
        register.follow(index, entry.encode())
    return register


def code_of(register: DecisionRegister, now_ms: int = NOW_MS) -> str:
    with pytest.raises(NotInForce) as caught:
        register.in_force(BUNDLE, now_ms)
    assert caught.value.hint
    return caught.value.code


def test_nothing_is_in_force_before_anything_is_signed() -> None:
    assert code_of(register_of()) == "none_signed"
    other = replace(DECISION, bundle=OTHER_BUNDLE)
    assert code_of(register_of(decision_entry(other))) == "none_signed"


def test_the_latest_decision_counts() -> None:
    register = register_of(small(1), decision_entry(), small(2), decision_entry(second()))
    found = register.in_force(BUNDLE, NOW_MS)
    assert (found.decision, found.index) == (second(), 3)


def test_dates_bound_a_decision() -> None:
    register = register_of(decision_entry())
    assert code_of(register, BEGIN_MS - 1) == "not_yet"
    assert register.in_force(BUNDLE, BEGIN_MS).decision == DECISION
    assert register.in_force(BUNDLE, END_MS - 1).decision == DECISION
    assert code_of(register, END_MS) == "expired"


def test_a_revocation_leaves_none_in_force_and_none_comes_back() -> None:
    entries = [decision_entry(), decision_entry(second()), revocation_entry(second())]
    register = register_of(*entries)
    assert code_of(register) == "revoked"
    assert register.rejected == []
    # The revoked one again, and the one before it again: both are replays.
    register = register_of(*entries, decision_entry(second()), decision_entry())
    assert code_of(register) == "revoked"
    assert [row.index for row in register.rejected] == [3, 4]
    register = register_of(*entries, decision_entry(second("decision_three")))
    assert register.in_force(BUNDLE, NOW_MS).index == 3


def test_an_older_decision_put_in_again_does_not_replace_the_newer() -> None:
    register = register_of(decision_entry(), decision_entry(second()), decision_entry())
    assert register.in_force(BUNDLE, NOW_MS).decision == second()
    assert len(register.rejected) == 1


def test_revoking_what_was_replaced_leaves_the_newer_in_force() -> None:
    register = register_of(decision_entry(), decision_entry(second()), revocation_entry())
    assert register.in_force(BUNDLE, NOW_MS).decision == second()


def test_a_decision_revoked_before_it_arrives_never_comes_into_force() -> None:
    register = register_of(revocation_entry(), decision_entry())
    assert code_of(register) == "none_signed"
    assert len(register.rejected) == 1


REJECTED = {
    "one approver": decision_entry(DECISION, (ALICE,)),
    "a stranger beside one": decision_entry(DECISION, (ALICE, STRANGER)),
    "the holder beside one": decision_entry(DECISION, (ALICE, HOLDER)),
    "the holder alone": decision_entry(DECISION, (HOLDER,)),
    "closed, by approvers": decision_entry(CLOSED, (ALICE, BOB)),
    "another bundle in the entry": decision_entry(bundle=OTHER_BUNDLE),
    "another id in the entry": decision_entry(decision="decision_x"),
    "another level in the entry": decision_entry(level="fully_open"),
    "a field beside": decision_entry(more="x"),
    "no envelope": decision_entry(envelope=""),
    "noise": decision_entry(envelope="!"),
    "a number": decision_entry(envelope=5),
    "revoked by a stranger": revocation_entry(DECISION, (STRANGER,)),
    "revoked for another reason": revocation_entry(reason="because"),
    "ends before it begins": decision_entry(replace(DECISION, not_after_ms=BEGIN_MS)),
    "gives the last layer": decision_entry(replace(DECISION, vectors_max=64)),
    "no audit": decision_entry(replace(DECISION, audit="")),
    "closed to nobody": decision_entry(replace(CLOSED, audiences=DECISION.audiences), (HOLDER,)),
    "open by the holder": decision_entry(replace(DECISION, level=Level.FULLY_OPEN), (HOLDER,)),
}


@pytest.mark.parametrize("entry", REJECTED.values(), ids=REJECTED.keys())
def test_what_does_not_verify_changes_nothing_and_is_remembered(
    entry: Entry, workspace: Workspace
) -> None:
    good = decision_entry(second())
    register = register_of(good, entry)
    assert register.in_force(BUNDLE, NOW_MS).decision == second()
    assert [row.index for row in register.rejected] == [1]
    with pytest.raises(Refused):
        register_of(good).admit(entry)
    # The second implementation agrees.
    workspace.create().append([good, entry])
    report = verify(workspace.folder, encode_trust(TRUST))
    assert [row.where.split(" (")[0] for row in report.findings] == ["entry 2"]
    assert report.decisions == 1


def test_the_holder_alone_decides_closed_ones() -> None:
    register = register_of(decision_entry(CLOSED, (HOLDER,)))
    assert register.in_force(BUNDLE, NOW_MS).decision == CLOSED
    register.follow(1, revocation_entry(CLOSED, (HOLDER,)).encode())
    assert code_of(register) == "revoked"


def test_the_past_can_be_asked() -> None:
    register = register_of(decision_entry(), small(1), revocation_entry(), decision_entry(second()))
    with pytest.raises(NotInForce):
        register.at(BUNDLE, 0)
    assert register.at(BUNDLE, 1).decision == DECISION
    assert register.at(BUNDLE, 2).decision == DECISION
    with pytest.raises(NotInForce):
        register.at(BUNDLE, 3)
    assert register.at(BUNDLE, 4).decision == second()
    with pytest.raises(NotInForce):
        register.at(BUNDLE, 4, now_ms=END_MS)
    assert [step.index for step in register.history(BUNDLE)] == [0, 2, 3]
    assert register.bundles() == (BUNDLE,)


def test_a_register_follows_another_process(workspace: Workspace) -> None:
    log = workspace.create()
    register = DecisionRegister(LogReader(workspace.folder, log_key(TRUST)), TRUST)
    assert register.refresh()
    assert not register.refresh()
    log.append([decision_entry()])
    assert register.refresh()
    assert register.in_force(BUNDLE, NOW_MS).index == 1
    log.append([small(1)] * 300)
    log.append([revocation_entry()])
    register.refresh()
    assert code_of(register) == "revoked"
    check_log(workspace.folder, TRUST)


NEEDY = [begun(), key_released(), runtime_started()]


@pytest.mark.parametrize("entry", NEEDY, ids=lambda entry: str(entry.kind))
def test_nothing_begins_under_a_decision_another_process_revoked(
    workspace: Workspace, entry: Entry
) -> None:
    workspace.create().append([decision_entry()])
    gateway = workspace.open(gate=DecisionRegister(None, TRUST))
    command_line = workspace.open(gate=DecisionRegister(None, TRUST))
    assert gateway.append([entry])[0].index == 2
    command_line.append([revocation_entry()])
    # The gateway was told nothing; the log's lock is where it learns of it.
    with pytest.raises(NotInForce) as caught:
        gateway.append([entry])
    assert caught.value.code == "revoked"
    assert gateway.refresh().size == 4
    check_log(workspace.folder, TRUST)


def test_nothing_begins_under_a_replaced_or_ended_decision(workspace: Workspace) -> None:
    log = workspace.create(gate=DecisionRegister(None, TRUST))
    log.append([decision_entry(), decision_entry(second())])
    with pytest.raises(NotInForce) as caught:
        log.append([begun()])
    assert caught.value.code == "decision_replaced"
    late = replace(begun(decision=second()), time_ms=END_MS)
    with pytest.raises(NotInForce) as caught:
        log.append([late])
    assert caught.value.code == "expired"
    assert log.head().size == 3


def test_a_revocation_and_what_follows_it_are_judged_in_order(workspace: Workspace) -> None:
    log = workspace.create(gate=DecisionRegister(None, TRUST))
    entries = [decision_entry(), begun("inf_1"), revocation_entry(), begun("inf_2"), small(1)]
    outcomes = log.append_each(entries)
    assert [type(outcome) for outcome in outcomes] == [
        Recorded,
        Recorded,
        Recorded,
        NotInForce,
        Recorded,
    ]
    report = check_log(workspace.folder, TRUST)
    assert report.open_inferences == ("inf_1",)


def test_a_gate_learns_of_all_that_was_before_it(workspace: Workspace) -> None:
    log = workspace.create()
    log.append([decision_entry(), *[small(1)] * 600])
    register = DecisionRegister(None, TRUST)
    again: Log = workspace.open(gate=register)
    assert register.position == 602
    assert again.append([begun()])[0].index == 602


def test_inferences_are_passed_over_quickly() -> None:
    register = DecisionRegister(None, TRUST)
    rows = [begun(f"inf_{number}", route='{"kind":"decision_signed"}') for number in range(50)]
    data = [row.encode() for row in rows]
    begin = time.process_time()
    for index in range(20_000):
        register.follow(index, data[index % 50])
    assert (time.process_time() - begin) / 20_000 < 20e-6
    assert register.rejected == []


def refused(moves: list[Entry]) -> set[int]:
    """The indexes, in a log of `moves`, of those that the gate would have refused."""
    register = DecisionRegister(None, TRUST)
    bad = set()
    for index, entry in enumerate([small(0), *moves]):
        try:
            if index:
                register.admit(entry)
        except Refused:
            bad.add(index)
        register.follow(index, entry.encode())
    return bad


def test_register_and_verifier_agree_on_random_histories(workspace: Workspace) -> None:
    """Two implementations of one rule, on the same log: what one lets stand, so does the other."""
    chance = random.Random(7)
    decisions = [second(f"decision_{number}") for number in range(4)]
    moves: list[Entry] = []
    for _ in range(120):
        decision = chance.choice(decisions)
        signers = chance.choice([(ALICE, BOB), (ALICE, BOB), (ALICE,), (HOLDER,)])
        moves.append(decision_entry(decision, signers))
        moves.append(begun(f"inf_{len(moves)}", chance.choice(decisions)))
        if chance.random() < 0.2:
            moves.append(
                revocation_entry(chance.choice(decisions), chance.choice([(BOB,), (STRANGER,)]))
            )
        decisions.append(second(f"decision_{len(moves)}"))
    workspace.create().append(moves)
    bad = refused(moves)
    report = verify(workspace.folder, encode_trust(TRUST))
    found = {int(row.where.split(" ")[1]) for row in report.findings}
    assert found == bad
    assert 20 < len(bad) < len(moves) - 20


@pytest.mark.parametrize("seed", range(8))
def test_register_and_verifier_agree_on_random_audits(workspace: Workspace, seed: int) -> None:
    """Dues, renewals, new audits and replays of each, at times that jump over their dates."""
    chance = random.Random(seed)
    span_ms = 3 * PERIOD_MS
    audits = [audit_signed(n, at_ms=BEGIN_MS + n * span_ms // 8) for n in range(8)]
    digests = [entry.body["summary"] for entry in audits]
    decisions = [
        replace(second(f"decision_{n}"), audit=digests[n % 8], not_after_ms=BEGIN_MS + span_ms)
        for n in range(40)
    ]
    moves: list[Entry] = [decision_entry(decisions[0])]
    current, past = decisions[0], [0]
    while len(moves) < 220:
        at_ms = BEGIN_MS + span_ms * len(moves) // 220
        dues = tuple(f"due_{chance.choice(past)}" for _ in range(chance.randint(0, 2)))
        signer = chance.choice([ALICE, HOLDER, HOLDER, STRANGER])
        move = chance.randint(0, 9)
        if move == 0:
            current = chance.choice(decisions)
            entry = decision_entry(current, chance.choice([(ALICE, BOB), (ALICE, BOB), (ALICE,)]))
        elif move == 1:
            past.append(len(moves))
            after_ms = at_ms + chance.randint(-5, 20) * span_ms // 220
            grace_ms = chance.randint(-1, 9) * span_ms // 440
            entry = due_entry(f"due_{len(moves)}", signer, due_ms=after_ms, grace_ms=grace_ms)
        elif move == 2:
            audit = chance.choice([current.audit, current.audit, chance.choice(digests)])
            name = f"renewal_{len(moves)}"
            reviewed_ms = at_ms + chance.choice([0, 0, -PERIOD_MS, PERIOD_MS])
            entry = renewal_entry(name, signer, dues=dues, audit=audit, at_ms=reviewed_ms)
        elif move == 3:
            entry = chance.choice(audits)
        elif move == 4:
            entry = chance.choice([row for row in moves if row.kind is not begun().kind])
        else:
            entry = begun(f"inf_{len(moves)}", current)
        moves.append(replace(entry, time_ms=at_ms))
    bad = refused(moves)
    workspace.create().append(moves)
    report = verify(workspace.folder, encode_trust(TRUST))
    found = {int(row.where.split(" ")[1]): row.what for row in report.findings}
    assert found.keys() == bad, {index: found.get(index) for index in found.keys() ^ bad}
    assert 20 < len(bad) < len(moves) - 20
