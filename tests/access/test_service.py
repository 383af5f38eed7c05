"""The door: each check fails closed, and what another process revokes is revoked here."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dutchdoor.access.cedar import PolicyBook
from dutchdoor.access.keys import ApiKey, HashKey
from dutchdoor.access.model import AccessRequest, Allowed, Amounts, Caller, Refusal
from dutchdoor.access.service import Access
from dutchdoor.access.store import AccessStore
from dutchdoor.custody.keyring import create_secret, load_secret
from dutchdoor.db.engine import DatabaseLimits, open_database, sqlite_url
from dutchdoor.errors import Refused, Unavailable
from dutchdoor.evidence.decision import Depth
from dutchdoor.ids import GrantId, KeyId
from tests.access.house import BUNDLE, DAY_MS, OTHER_BUNDLE, House, ask, database, open_access

ROOT = Path(__file__).parents[2]


def refusal(house: House, request: AccessRequest) -> Refusal:
    answer = house.access.decide(request)
    assert isinstance(answer, Refusal)
    assert answer.rule
    assert answer.message
    assert answer.hint
    return answer


def code_of(house: House, key: str) -> str:
    with pytest.raises(Refused) as refused:
        house.access.authenticate(key)
    assert refused.value.hint
    return refused.value.code


def test_the_right_key_names_its_person(house: House) -> None:
    person = house.person()
    issued = house.access.issue_key(person.id, record=house.record)
    assert house.access.authenticate(issued.secret.reveal()) == Caller(person, issued.record.id)


def test_wrong_unknown_and_foreign_keys_are_refused(house: House, tmp_path: Path) -> None:
    house.key(house.person())
    assert code_of(house, "") == "invalid_api_key"
    assert code_of(house, "sk-proj-1234") == "invalid_api_key"
    assert code_of(house, ApiKey.new().reveal()) == "invalid_api_key"
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    elsewhere = House(tmp_path / "elsewhere")
    assert code_of(house, elsewhere.key(elsewhere.person())) == "invalid_api_key"


def test_a_stolen_database_under_another_access_key_opens_nothing(house: House) -> None:
    text = house.key(house.person())
    other = Access(
        AccessStore(database(house.folder)),
        house.clock,
        hash_key=HashKey(create_secret(house.folder / "other.key", "access")),
        policies=PolicyBook(house.folder / "policies"),
    )
    with pytest.raises(Refused):
        other.authenticate(text)


def test_a_typo_is_refused_without_a_look_up(house: House) -> None:
    """The database is gone, and the answer is still no rather than an error."""
    text = house.key(house.person())
    gone = open_access(house.folder, house.clock)
    (house.folder / "state.db").write_bytes(b"")
    with pytest.raises(Refused):
        gone.authenticate(text[:-1] + ("a" if text[-1] != "a" else "b"))


def test_revoked_and_expired_keys_and_people_who_left_are_refused(house: House) -> None:
    person = house.person()
    first = house.access.issue_key(person.id, record=house.record)
    ends_ms = house.clock.now_ms() + 1000
    second = house.access.issue_key(person.id, record=house.record, not_after_ms=ends_ms)
    house.access.revoke_key(first.record.id, "lost", record=house.record)
    assert code_of(house, first.secret.reveal()) == "key_revoked"
    assert house.access.authenticate(second.secret.reveal()).person == person
    house.clock.advance(1000)
    assert code_of(house, second.secret.reveal()) == "key_expired"
    third = house.key(person)
    house.access.remove_person(person.id, "left", record=house.record)
    assert code_of(house, third) == "person_inactive"


def test_who_fits_everything_is_allowed_and_told_why(house: House) -> None:
    person = house.person()
    grant = house.grant(person)
    answer = house.access.decide(ask(house.caller(person)))
    assert isinstance(answer, Allowed)
    assert (answer.grant, answer.rule) == (grant, "infer_within_grant_and_decision")
    assert answer.reason


def test_a_stage_that_does_not_include_the_audience_says_so(house: House) -> None:
    person = house.person(audience="public")
    house.grant(person)
    answer = refusal(house, ask(house.caller(person), opened=[]))
    assert answer.code == "stage_excludes_audience"
    assert "stage 1" in answer.message
    assert "public" in answer.message


def test_no_grant_and_a_grant_for_another_model_are_refused(house: House) -> None:
    person = house.person()
    caller = house.caller(person)
    assert refusal(house, ask(caller)).code == "no_grant"
    house.grant(person, bundle=OTHER_BUNDLE)
    house.grant(house.person(name="Ben"))
    assert refusal(house, ask(caller)).code == "no_grant"


def test_a_grant_counts_within_its_dates_only(house: House) -> None:
    person = house.person()
    caller = house.caller(person)
    house.grant(person, begins_in_ms=1000)
    assert refusal(house, ask(caller)).code == "grant_not_yet"
    house.clock.advance(1000)
    assert isinstance(house.access.decide(ask(caller)), Allowed)
    house.clock.advance(DAY_MS)
    assert refusal(house, ask(caller)).code == "grant_expired"


def test_a_depth_beyond_grant_or_decision_is_refused_by_name(house: House) -> None:
    person = house.person()
    caller = house.caller(person)
    house.grant(person, depths=[Depth.SAMPLING, Depth.LOGPROBS])
    deep = [Depth.SAMPLING, Depth.LOGPROBS, Depth.LOGITS]
    answer = refusal(house, ask(caller, depths=deep))
    assert (answer.code, answer.missing) == ("depth_not_granted", ("logits",))
    assert answer.rule == "grant.depths"
    narrow = ask(caller, depths=[Depth.LOGPROBS], opened=[Depth.SAMPLING])
    answer = refusal(house, narrow)
    assert (answer.code, answer.missing) == ("depth_not_granted", ("logprobs",))
    assert answer.rule == "decision.audiences"


def test_the_rules_have_the_last_word(house: House) -> None:
    person = house.person()
    caller = house.caller(person)
    grant = house.grant(person)
    answer = refusal(house, ask(caller, tools=True))
    assert (answer.code, answer.rule) == ("policy_denied", "tools_need_an_agentic_grant")
    assert answer.grant == grant
    assert refusal(house, ask(caller, action="anything")).code == "policy_denied"
    assert refusal(house, ask(caller, depths=[])).code == "policy_denied"


def test_of_several_grants_the_newest_that_fits_counts(house: House) -> None:
    person = house.person()
    caller = house.caller(person)
    house.grant(person)
    house.clock.advance(1)
    newer = house.grant(person)
    house.clock.advance(1)
    agentic = house.grant(person, depths=[Depth.LOGPROBS], agentic=True)
    for request, grant in (
        (ask(caller), newer),
        (ask(caller, depths=[Depth.LOGPROBS], tools=True), agentic),
    ):
        answer = house.access.decide(request)
        assert isinstance(answer, Allowed)
        assert answer.grant == grant
    assert refusal(house, ask(caller, tools=True)).code == "policy_denied"


def test_a_caller_made_up_or_revoked_since_is_refused(house: House) -> None:
    person, other = house.person(), house.person(name="Ben")
    issued = house.access.issue_key(person.id, record=house.record)
    caller = house.access.authenticate(issued.secret.reveal())
    house.grant(person)
    house.grant(other)
    assert refusal(house, ask(replace(caller, person=other))).code == "invalid_api_key"
    assert refusal(house, ask(replace(caller, key=KeyId("key_x")))).code == "invalid_api_key"
    house.access.revoke_key(issued.record.id, "lost", record=house.record)
    assert refusal(house, ask(caller)).code == "key_revoked"
    second = house.caller(person)
    house.access.remove_person(person.id, "left", record=house.record)
    assert refusal(house, ask(second)).code == "person_inactive"


def test_a_running_stream_learns_of_each_revocation(house: House) -> None:
    person = house.person()
    issued = house.access.issue_key(person.id, record=house.record)
    key = issued.record.id
    first, second, third = (house.grant(person) for _ in range(3))

    def why(grant: GrantId, key: KeyId = key) -> str:
        answer = house.access.revoked(grant, key)
        return "" if answer is None else answer.code

    assert why(first.id) == ""
    house.access.revoke_grant(first.id, "misuse", record=house.record)
    assert (why(first.id), why(second.id)) == ("grant_revoked", "")
    assert why(GrantId("grant_x")) == "no_grant"
    assert why(second.id, KeyId("key_x")) == "invalid_api_key"
    house.access.revoke_key(key, "lost", record=house.record)
    assert why(second.id) == "key_revoked"
    house.access.remove_person(person.id, "left", record=house.record)
    assert why(third.id) == "person_inactive"
    house.clock.advance(2 * DAY_MS)
    assert why(third.id) == "grant_expired"


REVOKE = """
import sys
from pathlib import Path
from dutchdoor.clock import FixedClock
from tests.access.house import open_access
access = open_access(Path(sys.argv[1]), FixedClock())
access.{change}(sys.argv[2], "from the command line", record=lambda entry: None)
"""


@pytest.mark.parametrize("change", ["revoke_grant", "revoke_key", "remove_person"])
def test_what_the_command_line_revokes_is_cut_here_within_a_second(
    house: House, change: str
) -> None:
    person = house.person()
    issued = house.access.issue_key(person.id, record=house.record)
    key = issued.record.id
    grant = house.grant(person)
    what = {"revoke_grant": grant.id, "revoke_key": key, "remove_person": person.id}[change]
    assert house.access.revoked(grant.id, key) is None
    subprocess.run(
        [sys.executable, "-c", REVOKE.format(change=change), str(house.folder), what],
        check=True,
        cwd=ROOT,
    )
    revoked_at = time.monotonic()
    while house.access.revoked(grant.id, key) is None:
        assert time.monotonic() - revoked_at < 1
        time.sleep(0.005)
    assert isinstance(house.access.decide(ask(Caller(person, key))), Refusal)


def test_what_another_process_issues_and_grants_counts_here_at_once(house: House) -> None:
    access = open_access(house.folder, house.clock)
    first = house.person()
    assert access.authenticate(house.key(first)).person == first
    # No time passes between these looks: what is remembered is as young as it can be.
    second = house.person(name="Ben")
    caller = access.authenticate(house.key(second))
    assert caller.person == second
    assert isinstance(access.decide(ask(caller)), Refusal)
    house.grant(second)
    assert isinstance(access.decide(ask(caller)), Allowed)


def test_between_looks_the_database_is_left_alone(house: House) -> None:
    ticks = [0.0]
    access = Access(
        AccessStore(database(house.folder)),
        house.clock,
        hash_key=HashKey(load_secret(house.folder / "access.key")),
        policies=PolicyBook(house.folder / "policies"),
        ticks=lambda: ticks[0],
    )
    person = house.person()
    text = house.key(person)
    assert access.authenticate(text).person == person
    house.access.remove_person(person.id, "left", record=house.record)
    ticks[0] = 0.049
    assert access.authenticate(text).person == person
    ticks[0] = 0.05
    with pytest.raises(Refused):
        access.authenticate(text)


def test_without_its_database_the_door_stays_shut(house: House) -> None:
    person = house.person()
    issued = house.access.issue_key(person.id, record=house.record)
    grant = house.grant(person)
    ticks = [0.0]
    limits = DatabaseLimits(busy_ms_max=50)
    access = Access(
        AccessStore(open_database(sqlite_url(house.folder / "state.db"), limits)),
        house.clock,
        hash_key=HashKey(load_secret(house.folder / "access.key")),
        policies=PolicyBook(house.folder / "policies"),
        ticks=lambda: ticks[0],
    )
    caller = access.authenticate(issued.secret.reveal())
    access._store._database.close()
    for path in house.folder.glob("state.db*"):
        path.unlink()
    (house.folder / "state.db").mkdir()
    ticks[0] = 1.0
    with pytest.raises(Unavailable):
        access.authenticate(issued.secret.reveal())
    with pytest.raises(Unavailable):
        access.decide(ask(caller))
    with pytest.raises(Unavailable):
        access.revoked(grant.id, issued.record.id)
    with pytest.raises(Unavailable):
        access.reserve("inf_1", grant, Amounts(1, 1), vectors_max=1, hidden_size=576)


def test_changed_rules_come_into_force_while_running(house: House) -> None:
    ticks = [0.0]
    access = Access(
        AccessStore(database(house.folder)),
        house.clock,
        hash_key=HashKey(load_secret(house.folder / "access.key")),
        policies=PolicyBook(house.folder / "policies"),
        ticks=lambda: ticks[0],
    )
    person = house.person()
    caller = house.caller(person)
    house.grant(person)
    assert isinstance(access.decide(ask(caller)), Allowed)
    stop = f'forbid (principal, action, resource == Bundle::"{BUNDLE}");'
    rule = f'@id("stop") @reason("Stopped.") {stop}'
    (house.folder / "policies" / "stop.cedar").write_text(rule)
    ticks[0] = 1.0
    answer = access.decide(ask(caller))
    assert isinstance(answer, Refusal)
    assert answer.rule == "stop"
    (house.folder / "policies" / "stop.cedar").write_text("broken")
    ticks[0] = 2.0
    answer = access.decide(ask(caller))
    assert isinstance(answer, Refusal), "the old rules stay in force"
    assert access.policies.problem
