"""The pure rules: standing, dates, depths, budgets; each explains itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dutchdoor.access.model import Allowed, Amounts, Budget, Grant, KeyRecord, Refusal
from dutchdoor.access.rules import (
    Spending,
    budget_refusal,
    furthest,
    key_refusal,
    person_refusal,
    standing_refusal,
)
from dutchdoor.evidence.decision import Depth
from dutchdoor.ids import GrantId, KeyId, PersonId
from tests.access.house import BUNDLE

GRANT = Grant(
    id=GrantId("grant_1"),
    person=PersonId("person_1"),
    bundle=BUNDLE,
    purpose="evaluation",
    depths=(Depth.SAMPLING,),
    budget=Budget(requests=10, tokens=100, vectors=5),
    not_before_ms=1000,
    not_after_ms=2000,
    concurrency_max=2,
)
FREE = Spending(Amounts(), open_count=0, released=0, numbers=0, vectors_max=100, hidden_size=576)


@pytest.mark.parametrize(
    ("now_ms", "code"),
    [(999, "grant_not_yet"), (1000, ""), (1999, ""), (2000, "grant_expired")],
)
def test_a_grant_holds_from_its_first_to_before_its_last_millisecond(
    now_ms: int, code: str
) -> None:
    refusal = standing_refusal(GRANT, now_ms)
    assert (refusal.code if refusal is not None else "") == code


def test_a_revoked_grant_is_refused_whatever_the_date() -> None:
    revoked = replace(GRANT, active=False)
    for now_ms in (0, 1500, 3000):
        refusal = standing_refusal(revoked, now_ms)
        assert refusal is not None
        assert refusal.code == "grant_revoked"


@pytest.mark.parametrize(
    ("asked", "spending", "code"),
    [
        (Amounts(1, 100, 5), FREE, ""),
        (Amounts(11, 0, 0), FREE, "budget_requests"),
        (Amounts(1, 101, 0), FREE, "budget_tokens"),
        (Amounts(1, 1, 6), FREE, "budget_vectors"),
        (Amounts(1, 1, 1), replace(FREE, used=Amounts(10, 0, 0)), "budget_requests"),
        (Amounts(1, 1, 1), replace(FREE, open_count=2), "too_many_at_once"),
        (Amounts(1, 1, 1), replace(FREE, released=100), "vectors_exhausted"),
        (Amounts(1, 1, 1), replace(FREE, vectors_max=0), "vectors_exhausted"),
        (Amounts(1, 1, 0), replace(FREE, released=100), ""),
    ],
)
def test_each_budget_ends_exactly_where_it_says(
    asked: Amounts, spending: Spending, code: str
) -> None:
    refusal = budget_refusal(GRANT, asked, spending)
    assert (refusal.code if refusal is not None else "") == code


def test_an_exhausted_pool_tells_the_figure() -> None:
    spending = replace(FREE, released=144, numbers=0, vectors_max=144)
    refusal = budget_refusal(GRANT, Amounts(1, 10, 1), spending)
    assert refusal is not None
    expected = "144 of 576 independent vectors released, the decision allows 144"
    assert refusal.message.startswith(expected)


def test_nobody_and_nothing_known_are_refused() -> None:
    assert person_refusal(None) is not None
    assert key_refusal(None, 0) is not None


def test_a_key_ends_at_its_time_and_at_its_revocation() -> None:
    key = KeyRecord(KeyId("key_1"), PersonId("person_1"), issued_ms=0, not_after_ms=10)
    assert key_refusal(key, 9) is None
    for changed, now_ms, code in (
        (key, 10, "key_expired"),
        (replace(key, revoked_ms=5), 6, "key_revoked"),
    ):
        refusal = key_refusal(changed, now_ms)
        assert refusal is not None
        assert refusal.code == code


def test_every_refusal_says_code_message_rule_and_what_to_do() -> None:
    refusals = [
        budget_refusal(GRANT, Amounts(11, 0, 0), FREE),
        budget_refusal(GRANT, Amounts(1, 1, 1), replace(FREE, open_count=9)),
        budget_refusal(GRANT, Amounts(1, 1, 1), replace(FREE, vectors_max=0)),
        standing_refusal(GRANT, 0),
        standing_refusal(GRANT, 9999),
        person_refusal(None),
        key_refusal(None, 0),
    ]
    for refusal in refusals:
        assert refusal is not None
        body = refusal.to_body()
        for part in ("code", "message", "rule", "hint"):
            assert body[part], (refusal.code, part)


def test_a_judgment_cannot_be_mistaken_for_a_truth_value() -> None:
    """`if decide(...)` would be true of a refusal too, and let everybody in."""
    for judgment in (Allowed(GRANT, "rule"), Refusal("no_grant", "no", "rule")):
        with pytest.raises(AssertionError):
            bool(judgment)


def test_of_several_refusals_the_nearest_to_a_yes_is_told() -> None:
    codes = ["grant_expired", "depth_not_granted", "grant_revoked"]
    assert furthest([Refusal(code, "", "") for code in codes]).code == "depth_not_granted"
