"""An overdue audit puts the decision out of force after its grace, and only an auditor helps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dutchdoor.errors import NotInForce, Refused
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry
from dutchdoor.evidence.reaudit import GRACE_MS, GRACE_MS_MAX, PERIOD_MS
from dutchdoor.evidence.register import DecisionRegister
from dutchdoor.evidence.statement import key_id
from dutchdoor.evidence.trust import encode_trust
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
    runtime_started,
    small,
)

END_MS = BEGIN_MS + 3 * PERIOD_MS
LONG = replace(DECISION, not_after_ms=END_MS)
NOW_MS = BEGIN_MS + 5


def register_of(*entries: Entry) -> DecisionRegister:
    register = DecisionRegister(None, TRUST)
    for index, entry in enumerate(entries):
        register.follow(index, entry.encode())
    return register


def overdue(register: DecisionRegister, now_ms: int = NOW_MS) -> bool:
    try:
        register.in_force(BUNDLE, now_ms)
    except NotInForce as error:
        return (error.code, bool(error.hint)) == ("audit_overdue", True)
    return False


def after(number: int, name: str = "decision_two") -> Decision:
    """A decision that stands on the audit `number`."""
    audit = audit_signed(number).body["summary"]
    return replace(LONG, id=DecisionId(name), audit=audit)


def test_a_due_takes_the_decision_out_of_force_when_its_grace_is_over() -> None:
    register = register_of(decision_entry(LONG), due_entry(due_ms=NOW_MS, grace_ms=1_000))
    assert not overdue(register, NOW_MS + 999)
    assert overdue(register, NOW_MS + 1_000)
    assert register.rejected == []


def test_what_a_due_says_in_detail_is_not_told_to_callers() -> None:
    with pytest.raises(NotInForce) as caught:
        register_of(decision_entry(LONG), due_entry()).in_force(BUNDLE, NOW_MS)
    assert "incident" in caught.value.message
    assert "it leaked" not in caught.value.message


def test_an_audit_that_nobody_reviews_is_overdue_by_itself() -> None:
    """No entry is needed: a server that nobody looks after goes out of force."""
    end_ms = BEGIN_MS + PERIOD_MS + GRACE_MS
    old = audit_signed(1)
    for entries in ([decision_entry(LONG)], [old, decision_entry(after(1))]):
        assert not overdue(register_of(*entries), end_ms - 1)
        assert overdue(register_of(*entries), end_ms)


def test_signing_again_on_an_old_audit_does_not_make_it_younger() -> None:
    end_ms = BEGIN_MS + PERIOD_MS + GRACE_MS
    again = replace(decision_entry(replace(LONG, id=DecisionId("decision_two"))), time_ms=end_ms)
    assert overdue(register_of(decision_entry(LONG), again), end_ms)
    first = audit_signed(1)
    late = replace(first, time_ms=end_ms)
    register = register_of(first, decision_entry(after(1)), late)
    assert overdue(register, end_ms)
    assert len(register.rejected) == 1
    # An old audit that is recorded late is as old as the auditor says.
    assert overdue(register_of(late, decision_entry(after(1))), end_ms)


def test_a_fully_closed_decision_stays_in_force_for_its_auditors() -> None:
    closed = replace(CLOSED, not_after_ms=END_MS)
    register = register_of(decision_entry(closed, (HOLDER,)), due_entry())
    assert not overdue(register, END_MS - 1)


def test_a_due_on_another_bundle_changes_nothing() -> None:
    assert not overdue(register_of(decision_entry(LONG), due_entry(of=OTHER_BUNDLE)))


def test_a_new_audit_lifts_a_due_only_once_a_new_decision_names_it() -> None:
    entries = [decision_entry(LONG), due_entry(), audit_signed(2)]
    assert overdue(register_of(*entries))
    # Signing the old audit anew does not help, the new one does.
    old = decision_entry(replace(LONG, id=DecisionId("decision_three")))
    assert overdue(register_of(*entries, old))
    assert not overdue(register_of(*entries, decision_entry(after(2))))


def test_an_audit_from_before_the_due_does_not_lift_it() -> None:
    assert overdue(register_of(audit_signed(2), due_entry(), decision_entry(after(2))))


def test_a_decision_that_names_an_audit_before_it_is_recorded_is_not_lifted_by_it() -> None:
    assert overdue(register_of(due_entry(), decision_entry(after(2)), audit_signed(2)))


def test_an_auditors_renewal_lifts_exactly_the_dues_it_names() -> None:
    entries = [decision_entry(LONG), due_entry("due_1"), due_entry("due_2")]
    assert overdue(register_of(*entries, renewal_entry()))
    register = register_of(*entries, renewal_entry(dues=("due_1", "due_2")))
    assert not overdue(register)
    review = register.review(BUNDLE)
    assert review is not None
    assert [due.trigger for due in review.dues] == ["time"]
    # What comes up afterwards counts anew.
    register.follow(4, due_entry("due_3").encode())
    assert overdue(register)


def test_a_renewal_of_another_audit_lifts_nothing() -> None:
    entries = [decision_entry(LONG), due_entry(), renewal_entry(audit="sha256:" + "77" * 32)]
    assert overdue(register_of(*entries))


def test_a_renewal_lets_the_period_run_anew_and_a_replay_does_not() -> None:
    at_ms = BEGIN_MS + PERIOD_MS
    renewal = renewal_entry(dues=(), at_ms=at_ms)
    entries = [decision_entry(LONG), renewal]
    end_ms = at_ms + PERIOD_MS + GRACE_MS
    assert not overdue(register_of(*entries), end_ms - 1)
    register = register_of(*entries, replace(renewal, time_ms=end_ms))
    assert overdue(register, end_ms)
    assert len(register.rejected) == 1


def test_a_renewal_from_the_future_counts_from_its_entry() -> None:
    renewal = replace(renewal_entry(dues=(), at_ms=END_MS), time_ms=BEGIN_MS)
    assert overdue(register_of(decision_entry(LONG), renewal), BEGIN_MS + PERIOD_MS + GRACE_MS)


def test_the_past_is_judged_by_what_was_there_then() -> None:
    register = register_of(decision_entry(LONG), small(1), due_entry(), small(2), renewal_entry())
    assert register.at(BUNDLE, 2, NOW_MS).decision == LONG
    with pytest.raises(NotInForce):
        register.at(BUNDLE, 4, NOW_MS)
    assert register.at(BUNDLE, 4).decision == LONG
    assert register.at(BUNDLE, 5, NOW_MS).decision == LONG


REJECTED = {
    "due by a stranger": due_entry("due_x", STRANGER),
    "due known": due_entry("due_1"),
    "due without a name": due_entry(""),
    "due of a long grace": due_entry("due_x", grace_ms=GRACE_MS_MAX + 1),
    "due of a negative grace": due_entry("due_x", grace_ms=-1),
    "due before time": due_entry("due_x", due_ms=-1),
    "due with another bundle in the entry": due_entry("due_x", bundle=OTHER_BUNDLE),
    "due with another date in the entry": due_entry("due_x", due_ms=NOW_MS, grace_ms=True),
    "due with a field beside": due_entry("due_x", more="x"),
    "due without envelope": due_entry("due_x", envelope=""),
    "due of noise": due_entry("due_x", envelope="!"),
    "due of a renewal": replace(due_entry("due_x"), body=renewal_entry().body),
    "renewal by a stranger": renewal_entry("renewal_x", STRANGER),
    "renewal without a reason": renewal_entry("renewal_x", reason=" "),
    "renewal of what is not there": renewal_entry("renewal_x", dues=("due_1", "due_9")),
    "renewal on another bundle": renewal_entry("renewal_x", of=OTHER_BUNDLE),
    "renewal of fewer in the entry": renewal_entry("renewal_x", more=1),
    "renewal without audit": renewal_entry("renewal_x", audit=""),
    "audit by a stranger": audit_signed(3, STRANGER),
    "audit of another bundle": audit_signed(3, bundle=OTHER_BUNDLE),
    "audit of another name": audit_signed(3, audit="audit_9"),
    "audit under another digest": audit_signed(3, summary="sha256:" + "44" * 32),
    "audit known": audit_signed(1),
}


@pytest.mark.parametrize("entry", REJECTED.values(), ids=REJECTED.keys())
def test_what_does_not_verify_changes_nothing_for_either(
    entry: Entry, workspace: Workspace
) -> None:
    good = [decision_entry(LONG), audit_signed(1), due_entry(due_ms=END_MS)]
    register = register_of(*good, entry)
    assert [row.index for row in register.rejected] == [3]
    assert not overdue(register)
    with pytest.raises(Refused):
        register_of(*good).admit(entry)
    workspace.create().append([*good, entry])
    report = verify(workspace.folder, encode_trust(TRUST))
    assert [row.where.split(" (")[0] for row in report.findings] == ["entry 4"]


def test_where_auditors_are_named_neither_holder_nor_approvers_renew() -> None:
    trust = replace(TRUST, auditors={key_id(STRANGER.public_key): STRANGER.public_key})
    register = DecisionRegister(None, trust)
    for index, entry in enumerate([decision_entry(LONG), due_entry("due_1", STRANGER)]):
        register.follow(index, entry.encode())
    for signer in (HOLDER, ALICE, BOB):
        with pytest.raises(Refused):
            register.admit(renewal_entry("renewal_1", signer))
    register.admit(renewal_entry("renewal_1", STRANGER))


NEEDY = [(begun(), begun("inf_2")), (key_released(),) * 2, (runtime_started(),) * 2]


@pytest.mark.parametrize(("entry", "again"), NEEDY, ids=lambda entry: str(entry.kind))
def test_nothing_begins_under_an_overdue_audit_that_another_process_recorded(
    workspace: Workspace, entry: Entry, again: Entry
) -> None:
    workspace.create().append([decision_entry()])
    gateway = workspace.open(gate=DecisionRegister(None, TRUST))
    command_line = workspace.open(gate=DecisionRegister(None, TRUST))
    gateway.append([entry])
    command_line.append([due_entry()])
    with pytest.raises(NotInForce) as caught:
        gateway.append([replace(entry, time_ms=NOW_MS)])
    assert caught.value.code == "audit_overdue"
    command_line.append([renewal_entry()])
    gateway.append([again])
    check_log(workspace.folder, TRUST)


def test_an_outsider_finds_what_began_under_an_overdue_audit(workspace: Workspace) -> None:
    workspace.create().append([decision_entry(), due_entry(), begun()])
    (finding,) = verify(workspace.folder, encode_trust(TRUST)).findings
    assert "entry 3" in finding.where
    assert "the audit under decision_one was overdue" in finding.what
