"""While a stream runs: what is taken away ends it within a second, and its end is recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from dutchdoor.config import LimitsConfig
from dutchdoor.evidence.decision import Audience, Decision, Level
from dutchdoor.evidence.model import EntryKind
from dutchdoor.evidence.terms import Condition, StageTerms, Terms
from dutchdoor.gateway.attempt import HangUp
from dutchdoor.gateway.model import Event, Finished, Stopped
from dutchdoor.gateway.service import Gateway
from tests.gateway.house import DEEP, PLAIN, House, chat
from tests.gateway.test_service import DONE

CUT_S_MAX = 1.0
LONG = 500


def cut_by(house: House, key: str, take_away: Callable[[], Any]) -> tuple[list[Event], float]:
    """The events of a long stream during which `take_away` happens, and how long the cut took."""

    async def run() -> tuple[list[Event], float]:
        events: list[Event] = []
        with house.twin(delay_s=0.01):
            async with house.gateway() as gateway:
                stream = gateway.infer(key, chat("one two", tokens_max=LONG))
                taken_s = 0.0
                async for event in stream:
                    events.append(event)
                    if len(events) == 5:
                        await asyncio.to_thread(take_away)
                        taken_s = time.monotonic()
                return events, time.monotonic() - taken_s

    return asyncio.run(run())


def check_cut(house: House, events: list[Event], code: str, outcome: str) -> None:
    last = events[-1]
    assert isinstance(last, Stopped)
    assert last.code == code
    (done,) = house.entries(DONE)
    assert done.body["outcome"] == outcome
    assert done.body["code"] == code
    left = sum(hasattr(event, "text") for event in events)
    assert done.body["counts"]["released_tokens"] == left
    assert not house.access.open_reservations()
    house.check()


def test_a_revoked_decision_cuts_the_stream_within_a_second(house: House) -> None:
    decision = house.decide()
    events, took_s = cut_by(house, house.granted(), lambda: house.revoke(decision))
    check_cut(house, events, "decision_revoked", "revoked")
    assert took_s < CUT_S_MAX


def test_a_runtime_closed_by_a_revocation_is_told_as_the_revocation_not_as_a_breakdown(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor follows the log too, and may be first."""
    decision = house.decide()
    key = house.granted()

    async def run() -> list[Event]:
        events: list[Event] = []
        with house.twin(delay_s=0.01) as twin:
            async with house.gateway() as gateway:
                # The gateway's own look at the log comes too late; only the death is seen.
                monkeypatch.setattr("dutchdoor.gateway.watch.DECISION_POLL_S", 3600.0)
                await asyncio.sleep(0.2)
                async for event in gateway.infer(key, chat("one two", tokens_max=LONG)):
                    events.append(event)
                    if len(events) == 5:
                        await asyncio.to_thread(house.revoke, decision)
                        await asyncio.to_thread(twin.stop)
                refusal = [event async for event in gateway.infer(key, chat("one two"))]
                assert isinstance(refusal[0], Stopped)
                assert refusal[0].code == "decision_revoked"
        return events

    check_cut(house, asyncio.run(run()), "decision_revoked", "revoked")


def test_another_decision_cuts_what_ran_under_the_old_one(house: House) -> None:
    house.decide()
    events, took_s = cut_by(house, house.granted(), house.decide)
    check_cut(house, events, "decision_superseded", "revoked")
    assert took_s < CUT_S_MAX


def test_a_revoked_grant_cuts_the_stream_within_a_second(house: House) -> None:
    house.decide()
    person, key = house.person()
    grant = house.grant(person.id)
    events, took_s = cut_by(
        house, key, lambda: house.access.revoke_grant(grant.id, "misuse", record=house.record)
    )
    check_cut(house, events, "grant_revoked", "revoked")
    assert took_s < CUT_S_MAX


def test_a_revoked_key_cuts_the_stream_within_a_second(house: House) -> None:
    house.decide()
    person, key = house.person()
    house.grant(person.id)
    (record,) = house.access.list_keys(person.id)
    events, took_s = cut_by(
        house, key, lambda: house.access.revoke_key(record.id, "leaked", record=house.record)
    )
    check_cut(house, events, "key_revoked", "revoked")
    assert took_s < CUT_S_MAX


def test_a_person_who_leaves_takes_their_streams_along(house: House) -> None:
    house.decide()
    person, key = house.person()
    house.grant(person.id)
    events, _ = cut_by(
        house, key, lambda: house.access.remove_person(person.id, "left", record=house.record)
    )
    check_cut(house, events, "person_inactive", "revoked")


def test_a_log_that_cannot_be_followed_cuts_everything(house: House) -> None:
    house.decide()
    checkpoint = house.places.evidence / "checkpoint"

    def damage() -> None:
        # A revocation could be hidden behind it, so nothing may go on.
        checkpoint.write_bytes(checkpoint.read_bytes().replace(b"\n", b"\nx", 1))

    original = checkpoint.read_bytes()
    events, took_s = cut_by(house, house.granted(), damage)
    last = events[-1]
    assert isinstance(last, Stopped)
    assert last.code == "evidence_unavailable"
    assert took_s < CUT_S_MAX
    assert original != checkpoint.read_bytes()


def test_a_caller_who_leaves_stops_the_runtime_and_is_recorded(house: House) -> None:
    house.decide()
    key = house.granted()

    async def run() -> list[Event]:
        events: list[Event] = []
        hang_up = HangUp()
        with house.twin(delay_s=0.01):
            async with house.gateway() as gateway:
                async for event in gateway.infer(key, chat("one", tokens_max=LONG), hang_up):
                    events.append(event)
                    if len(events) == 4:
                        hang_up.now()
                assert gateway.watch.running_count == 0
        return events

    events = asyncio.run(run())
    check_cut(house, events, "client_gone", "cancelled")


@pytest.mark.parametrize("how", ["left", "cancelled"])
def test_a_dropped_generator_is_recorded_as_cancelled(house: House, how: str) -> None:
    house.decide()
    key = house.granted()

    async def run() -> None:
        with house.twin(delay_s=0.01):
            async with house.gateway() as gateway:
                stream = gateway.infer(key, chat("one", tokens_max=LONG))
                if how == "left":
                    for _ in range(3):
                        await anext(stream)
                    await stream.aclose()
                else:

                    async def consume() -> None:
                        async for _ in stream:
                            pass

                    task = asyncio.create_task(consume())
                    await asyncio.sleep(0.1)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                await asyncio.wait_for(gateway.watch.idle.wait(), 5)

    asyncio.run(run())
    (done,) = house.entries(DONE)
    assert done.body["outcome"] == "cancelled"
    assert done.body["counts"]["released_tokens"] >= 2
    assert not house.access.open_reservations()
    house.check()


def test_a_task_cancelled_before_the_start_leaves_no_budget_behind(house: House) -> None:
    house.decide()
    key = house.granted()

    async def run() -> None:
        with house.twin():
            async with house.gateway() as gateway:
                for wait_s in (0, 0.0005, 0.002, 0.005, 0.01):
                    task = asyncio.create_task(anext(gateway.infer(key, chat("one"))))
                    await asyncio.sleep(wait_s)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                await asyncio.wait_for(gateway.watch.idle.wait(), 5)
                await asyncio.sleep(0.3)

    asyncio.run(run())
    assert not house.access.open_reservations()
    report = house.check()
    assert not report.open_inferences


def test_a_runtime_that_dies_fails_the_stream_and_the_next_one_waits_for_it(house: House) -> None:
    house.decide()
    key = house.granted()

    async def run() -> list[Event]:
        events: list[Event] = []
        twin = house.twin(delay_s=0.01)
        twin.start()
        async with house.gateway() as gateway:
            async for event in gateway.infer(key, chat("one", tokens_max=LONG)):
                events.append(event)
                if len(events) == 5:
                    await asyncio.to_thread(twin.stop)
            again = [event async for event in gateway.infer(key, chat("one"))]
            assert isinstance(again[-1], Stopped)
            assert (again[-1].family, again[-1].code) == ("unavailable", "runtime_down")
            twin.start()
            back = [event async for event in gateway.infer(key, chat("one"))]
            assert not isinstance(back[-1], Stopped)
            twin.stop()
        return events

    events = asyncio.run(run())
    last = events[-1]
    assert isinstance(last, Stopped)
    assert last.code == "runtime_down"
    done = house.entries(DONE)
    assert [entry.body["outcome"] for entry in done] == ["failed", "completed"]
    assert done[0].body["counts"]["released_tokens"] == len(events) - 2
    assert [e.body["code"] for e in house.entries(EntryKind.INFERENCE_REFUSED)] == ["runtime_down"]
    house.check()


def test_an_inference_has_a_time_limit(house: House) -> None:
    house.config = type(house.config)(limits=LimitsConfig(request_s_max=1))
    house.decide()
    began_s = time.monotonic()
    events, _ = cut_by(house, house.granted(), lambda: None)
    assert time.monotonic() - began_s < 4
    check_cut(house, events, "request_timeout", "failed")


def test_a_gateway_that_stops_ends_its_streams_and_records_them(house: House) -> None:
    house.decide()
    key = house.granted()

    async def run() -> list[Event]:
        events: list[Event] = []

        async def consume(gateway: Any) -> None:
            events.extend([e async for e in gateway.infer(key, chat("one", tokens_max=LONG))])

        with house.twin(delay_s=0.01):
            async with house.gateway() as gateway:
                task = asyncio.create_task(consume(gateway))
                await asyncio.sleep(0.2)
            await task
        return events

    events = asyncio.run(run())
    check_cut(house, events, "gateway_stopping", "failed")


STAGES = (
    StageTerms("few", Level.GRADUAL_STAGED, (Audience("researcher", PLAIN),)),
    StageTerms(
        "wide",
        Level.CLOUD_API,
        (Audience("researcher", DEEP), Audience("developer", PLAIN)),
        roll_back=(Condition("incident_at_least", {"class": "serious"}),),
    ),
)


def in_stages(house: House) -> Decision:
    wide = STAGES[1]
    terms = Terms(stages=STAGES)
    return house.decide(stage=wide.name, audiences=wide.audiences, terms=terms)


def test_an_incident_cuts_whom_the_earlier_stage_does_not_let_in_and_nobody_else(
    house: House,
) -> None:
    """Nobody has written the roll-back yet: the incident's entry alone does it."""
    in_stages(house)
    keys = {who: house.granted(who, depths=PLAIN) for who in ("developer", "researcher")}
    stops: dict[str, float] = {}
    last: dict[str, Event] = {}

    async def follow(gateway: Gateway, who: str) -> None:
        async for event in gateway.infer(keys[who], chat("one two", tokens_max=150)):
            last[who] = event
        stops[who] = time.monotonic()

    async def run() -> float:
        with house.twin(delay_s=0.01):
            async with house.gateway() as gateway:
                tasks = [asyncio.create_task(follow(gateway, who)) for who in keys]
                await asyncio.sleep(0.5)
                await asyncio.to_thread(house.incident)
                told_s = time.monotonic()
                await asyncio.gather(*tasks)
                return told_s

    told_s = asyncio.run(run())
    cut = last["developer"]
    assert isinstance(cut, Stopped)
    assert cut.code == "stage_rolled_back"
    assert stops["developer"] - told_s < CUT_S_MAX
    assert isinstance(last["researcher"], Finished)
    house.check()


def test_what_an_earlier_stage_does_not_open_does_not_begin_either(house: House) -> None:
    decision = in_stages(house)
    key = house.granted("developer", depths=PLAIN)
    house.roll_back(decision, "few")

    async def run() -> list[Event]:
        with house.twin():
            async with house.gateway() as gateway:
                return [event async for event in gateway.infer(key, chat("one two"))]

    (refused,) = asyncio.run(run())
    assert isinstance(refused, Stopped)
    assert refused.code == "stage_excludes_audience"
    house.roll_back(decision, "", source="few")
    (refused,) = asyncio.run(run())
    assert isinstance(refused, Stopped)
    assert refused.code == "decision_rolled_back"
    house.check()
