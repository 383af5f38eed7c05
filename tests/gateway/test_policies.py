"""Rules that are not right leave the older ones in force, and everybody can see it."""

from __future__ import annotations

import asyncio

import pytest

from dutchdoor.errors import Invalid
from dutchdoor.evidence.model import EntryKind
from tests.gateway.house import House

LOADED = EntryKind.POLICY_LOADED
RULE = '@id("no_public") @reason("Not yet.") forbid (principal, action, resource) when {{ {0} }};'
GOOD = RULE.format('principal.audience == "public"')
BROKEN = RULE.format('principal.audiance == "public"')


def write(house: House, text: str) -> None:
    """As people are told to: beside it, then renamed into place."""
    new = house.places.policies / "own.cedar.new"
    new.write_text(text)
    new.rename(house.places.policies / "own.cedar")


def test_a_version_that_comes_into_force_is_recorded_once(house: House) -> None:
    before = house.entries(LOADED)

    async def run() -> None:
        with house.twin():
            async with house.gateway() as gateway, house.gateway():
                write(house, GOOD)
                for _ in range(40):
                    await asyncio.sleep(0.1)
                    if len(house.entries(LOADED)) > len(before):
                        break
                await asyncio.sleep(1.2)
                assert gateway.policies.trouble is None

    asyncio.run(run())
    after = house.entries(LOADED)
    versions = [str(entry.body["policies"]) for entry in after]
    assert versions[-1] == house.open_access().policies.current.version
    # Two gateways that look at the same moment may both say it; nobody says another.
    assert set(versions[len(before) :]) == {versions[-1]}
    assert 1 <= len(after) - len(before) <= 2


def test_a_gateway_says_so_when_the_rules_changed_while_none_ran(house: House) -> None:
    write(house, GOOD)

    async def run() -> None:
        with house.twin():
            async with house.gateway():
                pass
            async with house.gateway():
                pass

    asyncio.run(run())
    version = house.open_access().policies.current.version
    assert [entry.body["policies"] for entry in house.entries(LOADED)][1:] == [version]


def test_a_broken_rule_is_a_trouble_until_it_is_mended(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        with house.twin():
            async with house.gateway() as gateway:
                write(house, BROKEN)
                await gateway.policies.follow()
                trouble = gateway.policies.trouble
                assert trouble is not None
                assert trouble.code == "policies_stale"
                assert "own.cedar" not in trouble.message
                assert "own.cedar" in caplog.text
                write(house, GOOD)
                await gateway.policies.follow()
                assert gateway.policies.trouble is None

    asyncio.run(run())


def test_an_empty_policy_folder_is_no_gateway(house: House) -> None:
    for path in house.places.policies.glob("*.cedar*"):
        path.unlink()
    with pytest.raises(Invalid) as caught:
        house.open_access()
    assert caught.value.code == "no_policies"
