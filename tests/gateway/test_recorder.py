"""No token before its entry is durable; a log that fails stops everything, closed."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from dutchdoor.access.model import ContentMode
from dutchdoor.errors import Unavailable
from dutchdoor.evidence.model import Entry, EntryKind, Opening, Recorded, commit
from dutchdoor.gateway.model import (
    ActivationsRequest,
    Event,
    Finished,
    Prompt,
    Started,
    Stopped,
)
from tests.gateway.house import House, chat, collect, text_of
from tests.gateway.test_service import BEGUN, DONE, REFUSED


class Watched:
    """Stands between the gateway and the log: delays, fails, and remembers what was durable when.

    fail: kinds that cannot be recorded while they are in it.
    """

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self.delay_s = 0.0
        self.fail: set[EntryKind] = set()
        self.durable: list[EntryKind] = []

    async def record(self, entry: Entry) -> Recorded:
        await asyncio.sleep(self.delay_s)
        if entry.kind in self.fail:
            raise Unavailable("the disk is full", code="log_unavailable")
        recorded: Recorded = await self._writer.record(entry)
        self.durable.append(entry.kind)
        return recorded


class Between:
    """Makes a `Watched` and keeps it for the test."""

    def __init__(self) -> None:
        self.watched: Watched

    def __call__(self, writer: Any) -> Watched:
        self.watched = Watched(writer)
        return self.watched


def test_nothing_leaves_before_begun_is_durable_and_no_end_before_done_is(house: House) -> None:
    house.decide()
    key = house.granted()
    between = Between()

    async def run() -> None:
        with house.twin():
            async with house.gateway(between) as gateway:
                between.watched.delay_s = 0.1
                async for event in gateway.infer(key, chat("one two", tokens_max=3)):
                    if isinstance(event, Finished):
                        assert between.watched.durable == [BEGUN, DONE]
                    else:
                        assert between.watched.durable == [BEGUN]

    asyncio.run(run())


def test_a_log_that_fails_lets_nothing_begin_and_gives_the_budget_back(house: House) -> None:
    house.decide()
    person, key = house.person()
    grant = house.grant(person.id)
    between = Between()

    async def run() -> list[Event]:
        with house.twin():
            async with house.gateway(between) as gateway:
                between.watched.fail = {BEGUN}
                return await collect(gateway, key, chat("one"))

    (event,) = asyncio.run(run())
    assert isinstance(event, Stopped)
    assert (event.family, event.code) == ("unavailable", "evidence_unavailable")
    assert house.access.used(grant.id).requests == 0
    assert not house.access.open_reservations()


def test_a_refusal_that_cannot_be_recorded_is_an_outage(house: House) -> None:
    house.decide()
    between = Between()

    async def run() -> list[Event]:
        with house.twin():
            async with house.gateway(between) as gateway:
                between.watched.fail = {REFUSED}
                return await collect(gateway, house.granted("public"), chat("one"))

    (event,) = asyncio.run(run())
    assert isinstance(event, Stopped)
    assert event.code == "evidence_unavailable"


def test_one_failure_of_the_log_cuts_every_stream(house: House) -> None:
    house.decide()
    key = house.granted()
    between = Between()

    async def run() -> list[list[Event]]:
        with house.twin(delay_s=0.01):
            async with house.gateway(between) as gateway:
                long = [
                    asyncio.create_task(collect(gateway, key, chat("one", tokens_max=400)))
                    for _ in range(3)
                ]
                await asyncio.sleep(0.3)
                between.watched.fail = {BEGUN, DONE, REFUSED}
                await collect(gateway, key, chat("two"))
                return list(await asyncio.wait_for(asyncio.gather(*long), 2))

    for events in asyncio.run(run()):
        assert isinstance(events[0], Started)
        last = events[-1]
        assert isinstance(last, Stopped)
        assert last.code == "evidence_unavailable"


def test_an_end_that_could_not_be_recorded_stops_the_answer_and_is_paid_later(
    house: House,
) -> None:
    house.decide()
    key = house.granted()
    between = Between()

    async def run() -> list[Event]:
        with house.twin():
            async with house.gateway(between) as gateway:
                between.watched.fail = {DONE}
                events = await collect(gateway, key, chat("one"))
                assert len(gateway.recorder.owed) == 1
                between.watched.fail = set()
                for _ in range(50):
                    await asyncio.sleep(0.1)
                    if not gateway.recorder.owed:
                        break
                assert not gateway.recorder.owed
                return events

    events = asyncio.run(run())
    last = events[-1]
    assert isinstance(last, Stopped)
    assert last.code == "evidence_unavailable"
    assert len(house.entries(DONE)) == 1
    assert not house.check().open_inferences


def test_an_end_that_was_durable_after_all_is_not_written_twice(house: House) -> None:
    house.decide()
    key = house.granted()
    between = Between()

    class Lying(Watched):
        async def record(self, entry: Entry) -> Recorded:
            recorded: Recorded = await self._writer.record(entry)
            if entry.kind in self.fail:
                raise Unavailable("the answer was lost", code="log_unavailable")
            return recorded

    def lying(writer: Any) -> Watched:
        between.watched = Lying(writer)
        return between.watched

    async def run() -> None:
        with house.twin():
            async with house.gateway(lying) as gateway:
                between.watched.fail = {DONE}
                await collect(gateway, key, chat("one"))
                between.watched.fail = set()
                for _ in range(50):
                    await asyncio.sleep(0.1)
                    if not gateway.recorder.owed:
                        break

    asyncio.run(run())
    assert len(house.entries(DONE)) == 1
    house.check()


def test_an_end_that_is_recorded_late_says_no_more_than_the_caller_got(house: House) -> None:
    """The disk fills while a stream runs: what waited for the end's record never leaves, and the
    entry that is written later must not say that it did."""
    house.decide()
    person, key = house.person()
    house.grant(person.id, content_mode=ContentMode.FULL)
    between = Between()

    async def run() -> list[Event]:
        with house.twin():
            async with house.gateway(between) as gateway:
                between.watched.fail = {DONE}
                # The last word begins a forbidden literal: it waits until the end is durable.
                events = await collect(gateway, key, chat("one brew", tokens_max=2))
                between.watched.fail = set()
                await gateway.watch.pay()
                return events

    events = asyncio.run(run())
    got = text_of(events)
    assert got == " one"
    assert isinstance(events[-1], Stopped)
    (done,) = house.entries(DONE)
    assert done.body["outcome"] == "failed"
    assert done.body["code"] == "evidence_unavailable"
    counts = done.body["counts"]
    assert (counts["released_tokens"], counts["released_bytes"]) == (1, len(got.encode()))
    (file,) = house.places.content.glob("inf_*.json")
    opening = json.loads(file.read_text())["openings"]["completion"]
    content = base64.b64decode(opening["content"])
    assert content == got.encode()
    assert commit(Opening(bytes.fromhex(opening["salt"]), content)) == done.body["completion"]
    house.check()


def test_activations_whose_end_is_recorded_late_were_not_released(house: House) -> None:
    house.decide()
    key = house.granted()
    between = Between()
    request = ActivationsRequest("twin", Prompt(text="one two"), ("blocks.1.hook_resid_post",), 2)

    async def run() -> None:
        with house.twin():
            async with house.gateway(between) as gateway:
                between.watched.fail = {DONE}
                assert isinstance(await gateway.activations(key, request), Stopped)
                between.watched.fail = set()
                await gateway.watch.pay()

    asyncio.run(run())
    (done,) = house.entries(DONE)
    assert done.body["outcome"] == "failed"
    assert done.body["counts"]["vectors"] == 0
    assert done.body["counts"]["released_bytes"] == 0
