"""A gateway killed at any moment: its successor says what was lost and charges it in full."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from dutchdoor.evidence.model import EntryKind
from dutchdoor.gateway.model import Finished
from tests.gateway.house import House, chat, collect
from tests.gateway.test_service import BEGUN, DONE

LOST = EntryKind.INFERENCE_LOST


def start_victim(house: House, key: str) -> subprocess.Popen[str]:
    """A gateway process in the middle of three streams."""
    command = [sys.executable, "-m", "tests.gateway.victim", str(house.places.root), key]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    for _ in range(12):
        assert process.stdout.readline(), "the victim did not run"
    return process


def test_a_killed_gateways_inferences_are_lost_and_charged_in_full(house: House) -> None:
    house.decide()
    person, key = house.person()
    grant = house.grant(person.id)
    with house.twin(delay_s=0.02):
        victim = start_victim(house, key)
        victim.kill()
        victim.wait()

        async def run() -> None:
            async with house.gateway() as gateway:
                events = await collect(gateway, key, chat("one"))
                assert isinstance(events[-1], Finished)

        asyncio.run(run())
    assert len(house.entries(LOST)) == 3
    assert len(house.entries(BEGUN)) == 4
    assert len(house.entries(DONE)) == 1
    reserved = sum(e.body["reserved"]["tokens"] for e in house.entries(BEGUN)[:3])
    assert house.access.used(grant.id).tokens >= reserved
    assert not house.access.open_reservations()
    assert not house.check().open_inferences


def test_a_second_gateway_never_declares_the_first_ones_streams_lost(house: House) -> None:
    house.decide()
    key = house.granted()
    with house.twin(delay_s=0.02):
        victim = start_victim(house, key)

        async def run() -> None:
            async with house.gateway() as gateway:
                assert isinstance((await collect(gateway, key, chat("one")))[-1], Finished)

        try:
            asyncio.run(run())
            assert not house.entries(LOST)
            assert len(house.access.open_reservations()) == 3
        finally:
            victim.kill()
            victim.wait()
