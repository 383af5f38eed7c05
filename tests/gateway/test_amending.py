"""The amend test is the audit's alone, and is recorded like an inference."""

from __future__ import annotations

from typing import Any

import pytest

from dutchdoor import canonical
from dutchdoor.evidence.decision import Audience, Depth, GuardTerms, Level
from dutchdoor.evidence.model import EntryKind
from dutchdoor.gateway.model import AmendRead, AmendRequest, Finished, Stopped, Usage
from dutchdoor.runtime.protocol import Amend, AmendRow
from tests.gateway.house import DEEP, House
from tests.gateway.test_service import DONE, REFUSED, on_gateway
from tests.runtime.twin import twin_curve

WORK = Amend(
    id="amend",
    method="fine_tuning",
    prompts=[f"prompt {n}" for n in range(8)],
    controls=[f"control {n}" for n in range(8)],
    refusals=["sorry"],
    answers=["yes"],
    points=[0, 2, 4],
    rows=[AmendRow("a question", "an answer")],
)


def amend(house: House, key: str, depth: Depth = Depth.AUDIT) -> Any:
    request = AmendRequest("twin", WORK, depth)
    return on_gateway(house, lambda gateway: gateway.amend(key, request))


def test_the_curve_leaves_and_is_recorded_with_a_receipt(house: House) -> None:
    house.decide()
    key = house.granted("auditor", depths=(*DEEP, Depth.AUDIT))
    result = amend(house, key)
    assert isinstance(result, AmendRead)
    assert canonical.parse(result.curve) == twin_curve(WORK)
    (begun,) = house.entries(EntryKind.INFERENCE_BEGUN)
    (done,) = house.entries(DONE)
    assert begun.body["route"] == "audit_amend"
    assert begun.body["depths"] == ["audit"]
    assert done.body["outcome"] == "completed"
    assert done.body["counts"]["released_bytes"] == len(result.curve)
    usage = Usage(0, 0)
    house.check(Finished(result.inference, "stop", usage, result.done, result.receipt))


def test_nobody_without_the_depth_may_ask_and_it_is_recorded(house: House) -> None:
    house.decide()
    researcher = house.granted("researcher")
    unasked = house.granted("auditor", depths=DEEP)
    for key, depth in [
        (researcher, Depth.AUDIT),
        (unasked, Depth.AUDIT),
        (researcher, Depth.FINE_TUNING),
    ]:
        refused = amend(house, key, depth)
        assert isinstance(refused, Stopped)
        assert refused.code == "depth_not_granted"
    assert len(house.entries(REFUSED)) == 3
    assert not house.entries(EntryKind.INFERENCE_BEGUN)
    house.check()


def test_other_depths_do_not_open_it(house: House) -> None:
    house.decide()
    refused = amend(house, house.granted(depths=DEEP), Depth.SAMPLING)
    assert isinstance(refused, Stopped)
    assert refused.code == "policy_denied"


@pytest.mark.parametrize("opened", [True, False])
def test_fine_tuning_opens_it_only_where_the_decision_says_so(house: House, opened: bool) -> None:
    depths = (*DEEP, Depth.FINE_TUNING)
    house.decide(audiences=(Audience("researcher", depths if opened else DEEP),))
    result = amend(house, house.granted(depths=depths), Depth.FINE_TUNING)
    assert isinstance(result, AmendRead) is opened


def test_under_a_fully_closed_decision_its_auditors_may(house: House) -> None:
    person, key = house.person("auditor")
    house.decide(
        level=Level.FULLY_CLOSED,
        audiences=(Audience("auditor", (Depth.SAMPLING, Depth.AUDIT), (person.id,)),),
        guard=GuardTerms(),
        audit="",
    )
    house.grant(person.id, (Depth.SAMPLING, Depth.AUDIT))
    assert isinstance(amend(house, key), AmendRead)
    stranger = house.granted("auditor", depths=(Depth.SAMPLING, Depth.AUDIT))
    refused = amend(house, stranger)
    assert isinstance(refused, Stopped)
    house.check()
