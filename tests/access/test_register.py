"""Changes to people, keys and grants: recorded first, or they do not happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from dutchdoor.access.model import Budget
from dutchdoor.access.ports import Record
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused, Unavailable
from dutchdoor.evidence.decision import Depth
from dutchdoor.evidence.model import EntryKind
from dutchdoor.ids import BundleDigest, GrantId, KeyId, PersonId
from tests.access.house import BUNDLE, DAY_MS, House, ask, open_access


def everything(house: House) -> tuple[object, ...]:
    """What the database holds, as another process reads it."""
    other = open_access(house.folder, house.clock)
    return other.list_people(), other.list_keys(), other.list_grants()


def changes(house: House) -> dict[str, Callable[[Record], object]]:
    person = house.person(name="Ben")
    key = house.access.issue_key(person.id, record=house.record).record
    grant = house.grant(person)
    access = house.access
    return {
        "add_person": lambda r: access.add_person("Cleo", "Lab", "public", record=r),
        "remove_person": lambda r: access.remove_person(person.id, "left", record=r),
        "issue_key": lambda r: access.issue_key(person.id, record=r),
        "revoke_key": lambda r: access.revoke_key(key.id, "lost", record=r),
        "make_grant": lambda r: access.make_grant(
            person.id,
            BUNDLE,
            purpose="evaluation",
            depths=[Depth.SAMPLING],
            budget=Budget(1, 1),
            not_after_ms=house.clock.now_ms() + DAY_MS,
            record=r,
        ),
        "revoke_grant": lambda r: access.revoke_grant(grant.id, "misuse", record=r),
    }


NAMES = ["add_person", "remove_person", "issue_key", "revoke_key", "make_grant", "revoke_grant"]


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_recorded_does_not_happen(house: House, name: str) -> None:
    change = changes(house)[name]
    before = everything(house)
    epoch = open_access(house.folder, house.clock)._store.epoch()
    with pytest.raises(Unavailable, match="the disk is full"):
        change(house.cannot_record)
    assert everything(house) == before
    assert open_access(house.folder, house.clock)._store.epoch() == epoch
    change(house.record)
    assert everything(house) != before


@pytest.mark.parametrize("name", NAMES)
def test_a_change_is_recorded_before_anybody_can_see_it(house: House, name: str) -> None:
    change = changes(house)[name]
    before = everything(house)
    seen: list[tuple[object, ...]] = []
    change(lambda _entry: seen.append(everything(house)))
    assert seen == [before]


@pytest.mark.parametrize("name", NAMES)
def test_each_change_leaves_exactly_its_entry(house: House, name: str) -> None:
    change = changes(house)[name]
    house.entries.clear()
    change(house.record)
    kinds = {
        "add_person": EntryKind.PERSON_ADDED,
        "remove_person": EntryKind.PERSON_REMOVED,
        "issue_key": EntryKind.KEY_ISSUED,
        "revoke_key": EntryKind.KEY_REVOKED,
        "make_grant": EntryKind.GRANT_MADE,
        "revoke_grant": EntryKind.GRANT_REVOKED,
    }
    assert [entry.kind for entry in house.entries] == [kinds[name]]


def test_names_stay_out_of_the_log(house: House) -> None:
    """What is in the log can never be erased."""
    person = house.person(name="Grace Hopper")
    house.key(person)
    house.grant(person)
    house.access.remove_person(person.id, "left", record=house.record)
    assert len(house.entries) == 4
    for entry in house.entries:
        assert b"Hopper" not in entry.encode()
        assert entry.body["person"] == person.id


BAD_TEXTS = ["", "   ", "x" * 201, "two\nlines", "bell\x07", "\ud800"]


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_names_are_short_and_printable(house: House, text: str) -> None:
    for name, organisation in ((text, "Lab"), ("Ada", text)):
        with pytest.raises(Invalid):
            house.access.add_person(name, organisation, "public", record=house.record)
    assert house.entries == []


@pytest.mark.parametrize("audience", ["", "Public", "a b", "x" * 41, "a'b", "9", "public\n"])
def test_an_audience_is_one_lower_case_word(house: House, audience: str) -> None:
    with pytest.raises(Invalid):
        house.access.add_person("Ada", "Lab", audience, record=house.record)
    assert house.access.list_people() == ()


def _grant(
    house: House,
    person: PersonId,
    *,
    bundle: str = BUNDLE,
    depths: Sequence[Depth] = (Depth.SAMPLING,),
    budget: Budget | None = None,
    purpose: str = "evaluation",
    lasts_ms: int = DAY_MS,
    concurrency_max: int = 4,
) -> object:
    return house.access.make_grant(
        person,
        BundleDigest(bundle),
        purpose=purpose,
        depths=depths,
        budget=budget or Budget(1, 1, 1),
        not_after_ms=house.clock.now_ms() + lasts_ms,
        concurrency_max=concurrency_max,
        record=house.record,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"bundle": "sha256:AA"},
        {"bundle": "a" * 64},
        {"depths": ()},
        {"depths": (Depth.SAMPLING, Depth.SAMPLING)},
        {"budget": Budget(-1, 1)},
        {"budget": Budget(1, 1, 2**53)},
        {"purpose": ""},
        {"purpose": "x" * 2001},
        {"lasts_ms": 0},
        {"lasts_ms": 2**53},
        {"concurrency_max": 0},
        {"concurrency_max": 1001},
    ],
)
def test_a_grant_out_of_bounds_is_not_made(house: House, change: dict[str, object]) -> None:
    person = house.person()
    with pytest.raises(Invalid):
        _grant(house, person.id, **change)  # type: ignore[arg-type]
    assert house.access.list_grants() == ()
    assert len(house.entries) == 1


def test_nobody_gets_a_key_or_a_grant_who_is_unknown_or_left(house: House) -> None:
    person = house.person()
    house.access.remove_person(person.id, "left", record=house.record)
    recorded = len(house.entries)
    expected: list[tuple[PersonId, type[DutchdoorError]]] = [
        (person.id, Refused),
        (PersonId("person_nobody"), NotFound),
    ]
    for who, error in expected:
        with pytest.raises(error):
            house.access.issue_key(who, record=house.record)
        with pytest.raises(error):
            _grant(house, who)
    assert len(house.entries) == recorded
    assert house.access.list_keys() == ()


def test_what_is_not_there_or_gone_cannot_be_revoked(house: House) -> None:
    person = house.person()
    key = house.access.issue_key(person.id, record=house.record).record
    grant = house.grant(person)
    house.access.revoke_key(key.id, "lost", record=house.record)
    house.access.revoke_grant(grant.id, "misuse", record=house.record)
    recorded = len(house.entries)
    for known, unknown in ((key.id, KeyId("key_x")), (grant.id, GrantId("grant_x"))):
        revoke = house.access.revoke_key if known == key.id else house.access.revoke_grant
        with pytest.raises(Invalid) as invalid:
            revoke(known, "again", record=house.record)  # type: ignore[arg-type]
        assert invalid.value.code == "revoked_already"
        with pytest.raises(NotFound):
            revoke(unknown, "again", record=house.record)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        house.access.remove_person(PersonId("person_x"), "left", record=house.record)
    assert len(house.entries) == recorded


def test_a_key_that_would_end_in_the_past_is_not_issued(house: House) -> None:
    person = house.person()
    with pytest.raises(Invalid):
        house.access.issue_key(person.id, record=house.record, not_after_ms=house.clock.now_ms())
    assert house.access.list_keys() == ()


def test_people_are_found_by_identifier_and_by_a_name_that_is_theirs_alone(house: House) -> None:
    ada, ben = house.person(name="Ada"), house.person(name="Ben")
    house.person(name="Ben")
    assert house.access.find_person("Ada") == house.access.find_person(ada.id) == ada
    assert house.access.find_person(ben.id) == ben
    with pytest.raises(Invalid) as invalid:
        house.access.find_person("Ben")
    assert invalid.value.code == "person_ambiguous"
    with pytest.raises(NotFound):
        house.access.find_person("Cleo")


def test_a_grant_comes_back_as_it_was_made(house: House) -> None:
    person = house.person()
    grant = house.grant(person, depths=[Depth.LOGPROBS, Depth.SAMPLING], agentic=True)
    assert house.access.list_grants(person.id) == (grant,)
    request = ask(house.caller(person), depths=[Depth.LOGPROBS])
    assert getattr(house.access.decide(request), "grant", None) == grant
