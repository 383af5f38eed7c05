"""One inference in the order of the steps, and what stops it at each."""

from __future__ import annotations

import asyncio

from dutchdoor.evidence.model import EntryKind
from dutchdoor.gateway.model import Finished, Started, Stopped, TextDelta
from tests.gateway.house import House, chat, collect, text_of


def test_an_inference_is_recorded_around_every_token_and_gives_its_receipt(house: House) -> None:
    house.decide()
    key = house.granted()

    async def run() -> None:
        with house.twin():
            async with house.gateway() as gateway:
                events = await collect(gateway, key, chat("one two three"))
                assert isinstance(events[0], Started)
                assert isinstance(events[-1], Finished)
                assert all(isinstance(event, TextDelta) for event in events[1:-1])
                assert text_of(events).split() == "one two three one two three one two".split()
                assert set(events[-1].receipt) == {"begun", "done"}

    asyncio.run(run())
    begun, done = house.entries(EntryKind.INFERENCE_BEGUN, EntryKind.INFERENCE_DONE)
    assert done.body["begun"] == 7 or done.body["inference"] == begun.body["inference"]
    assert done.body["outcome"] == "completed"
    assert done.body["counts"]["completion_tokens"] == 8
