"""Reservations: no race overshoots, nothing is settled twice, nothing dead comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dutchdoor.access.model import Amounts, Budget, Grant, Refusal, Reservation
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.ids import GrantId
from tests.access.house import BUNDLE, HIDDEN_SIZE, OTHER_BUNDLE, House, open_access

ROOT = Path(__file__).parents[2]
ONE = Amounts(requests=1, tokens=10, vectors=1)


def reserve(
    house: House, grant: Grant, name: str, amounts: Amounts = ONE, *, vectors_max: int = 144
) -> Reservation | Refusal:
    return house.access.reserve(
        name, grant, amounts, vectors_max=vectors_max, hidden_size=HIDDEN_SIZE
    )


def held(house: House, grant: Grant, name: str, amounts: Amounts = ONE) -> Reservation:
    answer = reserve(house, grant, name, amounts)
    assert isinstance(answer, Reservation)
    return answer


def refused(answer: Reservation | Refusal) -> Refusal:
    assert isinstance(answer, Refusal)
    return answer


def test_a_thousand_racing_threads_never_overshoot(house: House) -> None:
    grant = house.grant(house.person(), budget=Budget(requests=137, tokens=10**6, vectors=1000))
    gate = threading.Barrier(50)

    def racer(name: int) -> int:
        gate.wait()
        answers = [reserve(house, grant, f"inf_{name}_{n}", Amounts(1, 10)) for n in range(20)]
        return sum(isinstance(answer, Reservation) for answer in answers)

    with ThreadPoolExecutor(50) as pool:
        won = sum(pool.map(racer, range(50)))
    assert won == 137
    assert house.access.used(grant.id) == Amounts(requests=137, tokens=1370)
    assert len(house.access.open_reservations()) == 137


def test_racing_processes_of_two_people_never_overshoot_the_pool(house: House) -> None:
    grants = [house.grant(house.person(name=name)) for name in ("Ada", "Ben")]
    programs = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.access.racer",
                str(house.folder),
                grants[number % 2].id,
                str(number),
                "40",
            ],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number in range(4)
    ]
    won = [int(program.communicate(timeout=120)[0]) for program in programs]
    assert sum(won) == 70
    assert house.access.released(BUNDLE) == 70
    assert sum(house.access.used(grant.id).vectors for grant in grants) == 70


def test_vectors_are_pooled_over_people_but_not_over_bundles(house: House) -> None:
    first, second = (house.grant(house.person(name=name)) for name in ("Ada", "Ben"))
    elsewhere = house.grant(house.person(), bundle=OTHER_BUNDLE)
    answer = held(house, first, "inf_1", Amounts(1, 10, 100))
    assert (answer.vectors_released, answer.vectors_max) == (100, 144)
    refusal = refused(reserve(house, second, "inf_2", Amounts(1, 10, 45)))
    assert refusal.code == "vectors_exhausted"
    expected = "100 of 576 independent vectors released, the decision allows 144"
    assert refusal.message.startswith(expected)
    assert held(house, second, "inf_3", Amounts(1, 10, 44)).vectors_released == 144
    assert held(house, elsewhere, "inf_4", Amounts(1, 10, 100)).vectors_released == 100
    assert held(house, first, "inf_5", Amounts(1, 10)), "text stays available"


def test_vectors_do_not_come_back_under_a_new_grant(house: House) -> None:
    person = house.person()
    grant = house.grant(person)
    house.access.settle(held(house, grant, "inf_1", Amounts(1, 1, 144)), Amounts(1, 1, 144))
    house.access.revoke_grant(grant.id, "renewal", record=house.record)
    assert refused(reserve(house, house.grant(person), "inf_2")).code == "vectors_exhausted"


def test_a_refusal_sets_nothing_aside(house: House) -> None:
    grant = house.grant(house.person(), budget=Budget(requests=5, tokens=100, vectors=2))
    for number, (amounts, code) in enumerate(
        [
            (Amounts(6, 1, 0), "budget_requests"),
            (Amounts(1, 101, 0), "budget_tokens"),
            (Amounts(1, 1, 3), "budget_vectors"),
        ]
    ):
        assert refused(reserve(house, grant, f"inf_{number}", amounts)).code == code
    assert refused(reserve(house, grant, "inf_x", vectors_max=0)).code == "vectors_exhausted"
    assert house.access.used(grant.id) == Amounts()
    assert house.access.released(BUNDLE) == 0
    assert house.access.open_reservations() == ()


def test_settling_gives_the_rest_back_once(house: House) -> None:
    grant = house.grant(house.person())
    answer = held(house, grant, "inf_1", Amounts(1, 100, 10))
    assert answer.details == {"requests_left": 999, "tokens_left": 999_900, "vectors_left": 990}
    assert house.access.settle(answer, Amounts(1, 30, 4))
    assert house.access.used(grant.id) == Amounts(1, 30, 4)
    assert house.access.released(BUNDLE) == 4
    assert not house.access.settle(answer, Amounts()), "once"
    assert not house.access.settle(answer, Amounts(1, 500, 0))
    assert house.access.used(grant.id) == Amounts(1, 30, 4)


def test_what_was_used_beyond_the_reservation_is_charged(house: House) -> None:
    grant = house.grant(house.person(), budget=Budget(requests=10, tokens=100, vectors=10))
    house.access.settle(held(house, grant, "inf_1", Amounts(1, 50, 1)), Amounts(1, 200, 2))
    assert house.access.used(grant.id) == Amounts(1, 200, 2)
    assert house.access.released(BUNDLE) == 2
    assert refused(reserve(house, grant, "inf_2", Amounts(1, 1))).code == "budget_tokens"


@pytest.mark.parametrize("amounts", [Amounts(-1), Amounts(1, -5), Amounts(1, 1, -1)])
def test_negative_amounts_give_nothing_back(house: House, amounts: Amounts) -> None:
    grant = house.grant(house.person())
    answer = held(house, grant, "inf_1")
    with pytest.raises(Invalid):
        reserve(house, grant, "inf_2", amounts)
    with pytest.raises(Invalid):
        house.access.settle(answer, amounts)
    assert house.access.used(grant.id) == ONE


def test_one_inference_reserves_once(house: House) -> None:
    grant = house.grant(house.person())
    held(house, grant, "inf_1")
    with pytest.raises(Invalid):
        reserve(house, grant, "inf_1")
    assert house.access.used(grant.id) == ONE


def test_so_many_at_once_and_no_more(house: House) -> None:
    grant = house.grant(house.person(), concurrency_max=2)
    first = held(house, grant, "inf_1")
    held(house, grant, "inf_2")
    assert refused(reserve(house, grant, "inf_3")).code == "too_many_at_once"
    house.access.settle(first, ONE)
    held(house, grant, "inf_3")


def test_dead_inferences_are_charged_in_full_and_free_their_place(house: House) -> None:
    grant = house.grant(house.person(), concurrency_max=1)
    held(house, grant, "inf_dead", Amounts(1, 100, 7))
    again = open_access(house.folder, house.clock)  # as after a crash
    names = [reservation.id for reservation in again.open_reservations()]
    assert names == ["inf_dead"]
    assert again.recover([*names, "inf_unknown"]) == 1
    assert again.recover(names) == 0
    assert again.used(grant.id) == Amounts(1, 100, 7)
    assert again.released(BUNDLE) == 7
    held(house, grant, "inf_2")


def test_a_reservation_of_a_revoked_or_ended_grant_is_refused_though_the_caller_knew_it(
    house: House,
) -> None:
    person = house.person()
    revoked, ended, left = (house.grant(person) for _ in range(3))
    house.access.revoke_grant(revoked.id, "misuse", record=house.record)
    assert refused(reserve(house, revoked, "inf_1")).code == "grant_revoked"
    house.access.remove_person(person.id, "left", record=house.record)
    assert refused(reserve(house, left, "inf_2")).code == "person_inactive"
    house.clock.advance(200_000_000)
    assert refused(reserve(house, ended, "inf_3")).code == "grant_expired"


def test_a_grant_that_never_was_reserves_nothing(house: House) -> None:
    grant = house.grant(house.person())
    ghost = Grant(**{**vars(grant), "id": GrantId("grant_ghost")})
    with pytest.raises(NotFound):
        reserve(house, ghost, "inf_1")
    with pytest.raises(NotFound):
        house.access.used(ghost.id)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 40),
            st.integers(0, 30),
            st.sampled_from(["settle", "none", "recover", "leave"]),
        ),
        max_size=12,
    )
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_happens_in_whatever_order_the_sums_are_right(
    house: House, steps: list[tuple[int, int, int, str]]
) -> None:
    budget = Budget(requests=8, tokens=200, vectors=100)
    grant = house.grant(house.person(), budget=budget)
    before = house.access.released(BUNDLE)
    spent = Amounts()
    for number, (requests, tokens, vectors, end) in enumerate(steps):
        asked = Amounts(requests, tokens, vectors)
        name = f"{grant.id}_{number}"
        answer = reserve(house, grant, name, asked, vectors_max=before + 60)
        if isinstance(answer, Refusal):
            continue
        used = asked
        if end in {"settle", "none"}:
            used = Amounts(requests, tokens // 2, vectors) if end == "settle" else Amounts()
            house.access.settle(answer, used)
        elif end == "recover":
            house.access.recover([name])
        spent = Amounts(
            spent.requests + used.requests,
            spent.tokens + used.tokens,
            spent.vectors + used.vectors,
        )
        assert spent.requests <= budget.requests
        assert spent.tokens <= budget.tokens
        assert spent.vectors <= 60
    assert house.access.used(grant.id) == spent
    assert house.access.released(BUNDLE) - before == spent.vectors


def test_what_was_answered_survives_the_death_of_the_process(house: House) -> None:
    """Killed at no chosen moment, it may know less than the database, never more."""
    grant = house.grant(house.person())
    code = (
        "import sys; from pathlib import Path; from tests.access.racer import race\n"
        "for number in range(10_000):\n"
        f"    won = race(Path({str(house.folder)!r}), {grant.id!r}, f'k{{number}}', 1)\n"
        "    print(won, flush=True)\n"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert program.stdout is not None
    acknowledged = int(program.stdout.readline())
    time.sleep(0.1)
    os.kill(program.pid, signal.SIGKILL)
    acknowledged += sum(int(line) for line in program.stdout.read().split())
    program.wait()
    assert acknowledged <= house.access.used(grant.id).requests <= acknowledged + 1
    assert house.access.released(BUNDLE) == house.access.used(grant.id).vectors
