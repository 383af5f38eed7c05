"""The decision's wire form: what goes in comes out, and a decision that breaks a rule is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import (
    Audience,
    Decision,
    Depth,
    Level,
    open_decision,
    open_revocation,
)
from dutchdoor.evidence.statement import sign_statement
from tests.evidence.parts import ALICE, BOB, CLOSED, DECISION, HOLDER, STRANGER, TRUST

AUDIENCES = st.builds(
    Audience,
    st.text(max_size=8),
    st.lists(st.sampled_from(Depth), max_size=3).map(tuple),
    st.lists(st.text(min_size=1, max_size=5), max_size=3).map(tuple),
)


@given(st.lists(AUDIENCES, max_size=3).map(tuple), st.integers(0, 63), st.text(max_size=20))
def test_decisions_round_trip(
    audiences: tuple[Audience, ...], vectors_max: int, reasons: str
) -> None:
    decision = replace(DECISION, audiences=audiences, vectors_max=vectors_max, reasons=reasons)
    assert Decision.from_body(decision.to_body()) == decision


BAD: dict[str, Any] = {
    "id": 5,
    "bundle": None,
    "level": "half_open",
    "audiences": [{"name": "x", "depths": ["sampling"]}],
    "guard": "none",
    "hidden_size": True,
    "vectors_max": 64,
    "audit": "",
    "not_before_ms": DECISION.not_after_ms,
    "not_after_ms": "later",
    "more": 1,
}


@pytest.mark.parametrize("field", BAD)
def test_a_body_with_one_wrong_field_is_no_decision(field: str) -> None:
    with pytest.raises(Invalid):
        Decision.from_body({**DECISION.to_body(), field: BAD[field]})


@pytest.mark.parametrize("field", DECISION.to_body())
def test_a_body_without_a_field_is_no_decision(field: str) -> None:
    body = DECISION.to_body()
    del body[field]
    with pytest.raises(Invalid):
        Decision.from_body(body)


@pytest.mark.parametrize(
    ("decision", "signers", "good"),
    [
        (DECISION, (ALICE, BOB), True),
        (DECISION, (ALICE, BOB, STRANGER), True),
        (DECISION, (ALICE,), False),
        (DECISION, (ALICE, HOLDER), False),
        (DECISION, (HOLDER,), False),
        (DECISION, (ALICE, STRANGER), False),
        (CLOSED, (HOLDER,), True),
        (CLOSED, (ALICE, BOB), False),
        (CLOSED, (STRANGER,), False),
    ],
)
def test_only_those_who_may_decide_it_decide(decision: Decision, signers: Any, good: bool) -> None:
    envelope = sign_statement("release_decision", decision.to_body(), signers)
    if good:
        assert open_decision(envelope, TRUST) == decision
    else:
        with pytest.raises(Invalid):
            open_decision(envelope, TRUST)


def test_depths_open_only_to_those_who_are_named() -> None:
    both = replace(
        DECISION,
        audiences=(
            Audience("researcher", (Depth.SAMPLING,)),
            Audience("researcher", (Depth.LOGITS,), ("person_a",)),
        ),
    )
    assert both.depths_for("researcher", "person_b") == {Depth.SAMPLING}
    assert both.depths_for("researcher", "person_a") == {Depth.SAMPLING, Depth.LOGITS}
    assert both.depths_for("public", "person_a") == frozenset()


def test_a_revocation_takes_one_trusted_signature_and_nothing_else() -> None:
    body = {"decision": "decision_one", "bundle": "b", "reason": "r"}
    for signer in (ALICE, HOLDER):
        envelope = sign_statement("release_revocation", body, (signer,))
        assert open_revocation(envelope, TRUST).reason == "r"
    wrong: list[tuple[dict[str, Any], Any]] = [
        (body, STRANGER),
        ({**body, "more": ""}, ALICE),
        ({**body, "reason": 5}, ALICE),
        ({"decision": "x"}, ALICE),
    ]
    for value, signer in wrong:
        with pytest.raises(Invalid):
            open_revocation(sign_statement("release_revocation", value, (signer,)), TRUST)


def test_every_level_is_known() -> None:
    assert {level for level in Level if level is not Level.FULLY_CLOSED} == {
        Level.GRADUAL_STAGED,
        Level.HOSTED,
        Level.CLOUD_API,
        Level.DOWNLOADABLE,
        Level.FULLY_OPEN,
    }
