"""Budgets in slices: no race overshoots, what a dead process held counts, nothing is hidden."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from dutchdoor.access.model import AccessRequest, Allowed, Amounts, Budget, Grant, Refusal
from dutchdoor.access.model import Reservation as Held
from dutchdoor.access.service import Access
from dutchdoor.access.slices import holder_of_slice
from dutchdoor.access.store import AccessStore
from dutchdoor.errors import Invalid, Refused
from dutchdoor.evidence.decision import Depth
from dutchdoor.ids import DecisionId
from tests.access.house import BUNDLE, HIDDEN_SIZE, House, database, open_access

ONE = Amounts(requests=1, tokens=10)


def lender(house: House, name: str = "gateway_a") -> Access:
    access = open_access(house.folder, house.clock)
    access.lend(name)
    access.follow()
    return access


def reserve(access: Access, grant: Grant, name: str, amounts: Amounts = ONE) -> Held | Refusal:
    """As the gateway does: out of what is at hand, else with a transaction."""
    at_hand = access.reserve_at_hand(name, grant, amounts)
    if at_hand is not None:
        return at_hand
    return access.reserve(name, grant, amounts, vectors_max=144, hidden_size=HIDDEN_SIZE)


def settle(access: Access, held: Held, used: Amounts = ONE) -> None:
    assert access.settle_at_hand(held, used) or access.settle(held, used)


def test_a_thousand_racers_of_two_gateways_never_overshoot(house: House) -> None:
    budget = Budget(requests=337, tokens=337 * 10)
    grant = house.grant(house.person(), budget=budget)
    gateways = [lender(house, "gateway_a"), lender(house, "gateway_b")]
    gate = threading.Barrier(20)

    def racer(name: int) -> int:
        access, won = gateways[name % 2], 0
        gate.wait()
        for number in range(50):
            held = reserve(access, grant, f"inf_{name}_{number}")
            if isinstance(held, Held):
                won += 1
                settle(access, held)
        return won

    with ThreadPoolExecutor(20) as pool:
        won = sum(pool.map(racer, range(20)))
    for access in gateways:
        access.give_back()
    assert won <= 337
    assert won >= 337 - 2 * 32, "what stays behind in idle slices is little"
    assert house.access.used(grant.id) == Amounts(won, won * 10)
    assert house.access.open_reservations() == ()


def test_most_requests_need_no_transaction(house: House) -> None:
    grant = house.grant(house.person())
    access = lender(house)
    settle(access, reserve_held(access, grant, "inf_0"))
    for number in range(1, 40):
        held = access.reserve_at_hand(f"inf_{number}", grant, ONE)
        assert held is not None
        settle(access, held)
    assert access.used(grant.id) == Amounts(40, 400)
    assert house.access.used(grant.id).requests > 40, "for others all of a slice is set aside"
    access.give_back()
    assert house.access.used(grant.id) == Amounts(40, 400)


def reserve_held(access: Access, grant: Grant, name: str, amounts: Amounts = ONE) -> Held:
    held = reserve(access, grant, name, amounts)
    assert isinstance(held, Held)
    return held


def test_the_last_request_of_a_budget_is_given_and_no_more(house: House) -> None:
    grant = house.grant(house.person(), budget=Budget(requests=100, tokens=10**6))
    access = lender(house)
    for number in range(100):
        settle(access, reserve_held(access, grant, f"inf_{number}"))
    refusal = reserve(access, grant, "inf_100")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "budget_requests"
    assert access.used(grant.id) == Amounts(100, 1000)


def test_what_was_used_beyond_the_reservation_is_charged(house: House) -> None:
    grant = house.grant(house.person())
    access = lender(house)
    settle(access, reserve_held(access, grant, "inf_0"), Amounts(1, 5000))
    access.give_back()
    assert house.access.used(grant.id) == Amounts(1, 5000)


def test_a_slice_that_died_with_its_process_counts_as_used(house: House) -> None:
    grant = house.grant(house.person())
    access = lender(house)
    settle(access, reserve_held(access, grant, "inf_0"))
    del access
    before = house.access.used(grant.id)
    names = [row.id for row in house.access.open_reservations()]
    assert [holder_of_slice(name) for name in names] == ["gateway_a"]
    assert house.access.recover(names) == 1
    assert house.access.used(grant.id) == before
    assert before.requests > 1
    assert house.access.open_reservations() == ()


def test_so_many_at_once_and_no_more_over_all_gateways(house: House) -> None:
    grant = house.grant(house.person(), concurrency_max=2)
    one, other = lender(house, "gateway_a"), lender(house, "gateway_b")
    first = reserve_held(one, grant, "inf_0")
    reserve_held(other, grant, "inf_1")
    for access in (one, other):
        refusal = reserve(access, grant, "inf_2")
        assert isinstance(refusal, Refusal)
        assert refusal.code == "too_many_at_once"
    settle(one, first)
    reserve_held(one, grant, "inf_3")


def test_an_idle_slice_keeps_no_vectors_from_anybody(house: House) -> None:
    grant = house.grant(house.person(), concurrency_max=1)
    access = lender(house)
    settle(access, reserve_held(access, grant, "inf_0"))
    deep = Amounts(1, 10, vectors=1)
    held = reserve_held(access, grant, "inf_1", deep)
    assert held.vectors_released == 1, "vectors are counted on disk, never in a slice"
    assert access.released(BUNDLE) == 1


def test_one_inference_reserves_once(house: House) -> None:
    grant = house.grant(house.person())
    access = lender(house)
    settle(access, reserve_held(access, grant, "inf_0"))
    reserve_held(access, grant, "inf_1")
    with pytest.raises(Invalid):
        reserve(access, grant, "inf_1")


def test_a_revoked_grant_lends_nothing_though_a_slice_is_left(house: House) -> None:
    grant = house.grant(house.person())
    access = lender(house)
    settle(access, reserve_held(access, grant, "inf_0"))
    house.access.revoke_grant(grant.id, "over", record=house.record)
    access.follow()
    access._changed()
    refusal = reserve(access, grant, "inf_1")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "grant_revoked"


def asked(house: House, access: Access, text: str) -> AccessRequest:
    return AccessRequest(
        caller=access.authenticate(text),
        action="infer",
        bundle=BUNDLE,
        decision=DecisionId("decision_1"),
        level="cloud_api",
        stage="stage 1",
        depths=frozenset({Depth.SAMPLING}),
        audience_depths=frozenset({Depth.SAMPLING}),
    )


def test_what_is_at_hand_is_forgotten_when_it_is_old_or_anything_changed(house: House) -> None:
    ticks = [0.0]
    person = house.person()
    text = house.key(person)
    grant = house.grant(person)
    access = Access(
        AccessStore(database(house.folder)),
        house.clock,
        hash_key=house.hash_key,
        policies=house.access.policies,
        ticks=lambda: ticks[0],
    )
    access.follow()
    request = asked(house, access, text)
    assert access.decide_at_hand(request) is None, "nobody has decided it yet"
    assert isinstance(access.decide(request), Allowed)
    assert access.decide_at_hand(request) == access.decide(request)
    assert access.decide_at_hand(replace(request, stage="stage 2")) is None
    assert access.authenticate_at_hand(text) == request.caller
    ticks[0] = 0.3
    assert access.authenticate_at_hand(text) is None
    assert access.decide_at_hand(request) is None
    house.access.revoke_grant(grant.id, "over", record=house.record)
    access.follow()
    assert access.decide_at_hand(request) is None
    house.access.remove_person(person.id, "left", record=house.record)
    ticks[0] = 0.4
    access.follow()
    assert access.authenticate_at_hand(text) is None
    with pytest.raises(Refused):
        access.authenticate(text)


def test_a_key_issued_a_moment_ago_opens_at_once(house: House) -> None:
    access = lender(house)
    text = house.key(house.person())
    assert access.authenticate_at_hand(text) is None, "it has to be asked"
    access._changed()
    assert access.authenticate_at_hand(text) is None
    caller = access.authenticate(text)
    assert access.authenticate_at_hand(text) == caller


def test_a_permission_at_hand_ends_with_its_grant(house: House) -> None:
    person = house.person()
    text = house.key(person)
    grant = house.grant(person)
    access = lender(house)
    request = asked(house, access, text)
    assert isinstance(access.decide(request), Allowed)
    assert access.decide_at_hand(request) is not None
    house.clock.advance(grant.not_after_ms - house.clock.now_ms())
    access.follow()
    assert access.decide_at_hand(request) is None
