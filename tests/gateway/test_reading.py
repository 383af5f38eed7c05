"""Activations are counted before they are read; the probe is fitted for the audit alone."""

from __future__ import annotations

import asyncio
from typing import Any

from dutchdoor.evidence.decision import Depth
from dutchdoor.evidence.model import EntryKind
from dutchdoor.gateway.model import (
    ActivationsRead,
    ActivationsRequest,
    FitRequest,
    ProbeRead,
    Prompt,
    Stopped,
)
from dutchdoor.gateway.service import Gateway
from dutchdoor.runtime.protocol import LabelledText
from tests.gateway.house import DEEP, House
from tests.gateway.test_service import DONE, REFUSED, on_gateway
from tests.runtime.twin import FORBIDDEN_PROMPT, HIDDEN

TAP = "blocks.1.hook_resid_post"


def read(
    house: House, key: str, text: str = "a b c d e f", positions: int = 1, tap: str = TAP
) -> Any:
    request = ActivationsRequest("twin", Prompt(text=text), (tap,), positions)
    return on_gateway(house, lambda gateway: gateway.activations(key, request))


def test_vectors_end_where_the_pool_ends_and_the_refusal_says_the_figure(house: House) -> None:
    house.decide(vectors_max=6)
    first, second = house.granted(), house.granted()
    result = read(house, first, positions=4)
    assert isinstance(result, ActivationsRead)
    assert len(result.data) == 4 * 4 * HIDDEN
    assert result.vectors_released == 4
    # The pool is the model's: another person finds it as it was left.
    refused = read(house, second, positions=3)
    assert isinstance(refused, Stopped)
    assert refused.code == "vectors_exhausted"
    assert "4 of 576" in refused.message
    (done,) = house.entries(DONE)
    assert done.body["counts"]["vectors"] == 4
    assert house.access.released(result_bundle(house)) == 4
    house.check()


def result_bundle(house: House) -> Any:
    (done,) = house.entries(EntryKind.INFERENCE_BEGUN)
    return done.body["bundle"]


def test_racers_for_vectors_never_overshoot(house: House) -> None:
    house.decide(vectors_max=5)
    keys = [house.granted() for _ in range(4)]

    async def race(gateway: Gateway) -> list[Any]:
        request = ActivationsRequest("twin", Prompt(text="a b c"), (TAP,), 1)
        return await asyncio.gather(
            *(gateway.activations(key, request) for key in keys for _ in range(4))
        )

    results = on_gateway(house, race)
    assert sum(isinstance(result, ActivationsRead) for result in results) == 5
    assert house.access.released(result_bundle_of(house)) == 5
    house.check()


def result_bundle_of(house: House) -> Any:
    return house.entries(EntryKind.INFERENCE_BEGUN)[0].body["bundle"]


def test_taps_and_positions_that_do_not_exist_cost_nothing(house: House) -> None:
    decision = house.decide()
    key = house.granted()
    assert read(house, key, tap="blocks.99.hook_resid_post").code == "unknown_tap"
    assert read(house, key, text="a b", positions=3).code == "bad_positions"
    assert house.access.released(decision.bundle) == 0
    assert [entry.body["code"] for entry in house.entries(REFUSED)] == [
        "unknown_tap",
        "bad_positions",
    ]


def test_a_blocked_prompt_gives_its_vectors_back(house: House) -> None:
    decision = house.decide()
    key = house.granted()
    assert read(house, key, text=f"a {FORBIDDEN_PROMPT}").code == "content_filter"
    assert read(house, key, text="brew the nerve agent").code == "content_filter"
    (done,) = house.entries(DONE)
    assert done.body["outcome"] == "blocked"
    assert done.body["counts"]["vectors"] == 0
    assert done.body["verdicts"][0]["action"] == "block"
    assert house.access.released(decision.bundle) == 0
    house.check()


def test_activations_need_their_own_depth(house: House) -> None:
    house.decide()
    assert read(house, house.granted("developer", depths=(Depth.SAMPLING,))).code == (
        "depth_not_granted"
    )


def test_only_the_audit_fits_the_probe(house: House) -> None:
    house.decide()
    rows = (LabelledText("a", 1, "test"), LabelledText("b", 0, "test"))
    auditor = house.granted("auditor", depths=(*DEEP, Depth.AUDIT))
    researcher = house.granted("researcher")
    request = FitRequest("twin", rows)
    fitted = on_gateway(house, lambda gateway: gateway.fit_probe(auditor, request))
    assert isinstance(fitted, ProbeRead)
    assert fitted.sealed == b"sealed twin probe"
    (entry,) = house.entries(EntryKind.PROBE_FITTED)
    assert entry.body["probe"] == fitted.digest
    refused = on_gateway(house, lambda gateway: gateway.fit_probe(researcher, request))
    assert isinstance(refused, Stopped)
    assert refused.code == "depth_not_granted"
    house.check()
