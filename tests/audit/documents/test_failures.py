"""Failure analysis: severity weighs first, and what is terrible and rare still stops the audit."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.audit.documents.failures import (
    Priority,
    copied,
    occurrence_of,
    open_severe,
    priority_of,
    scored,
    too_low,
)
from dutchdoor.audit.documents.reading import Trial

scores = st.tuples(*[st.integers(1, 10)] * 3)
ORDER = [Priority.LOW, Priority.MEDIUM, Priority.HIGH]


@given(scores, scores)
def test_a_worse_score_never_lowers_the_priority(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    low = priority_of(*(min(pair) for pair in zip(one, other, strict=True)))
    high = priority_of(*(max(pair) for pair in zip(one, other, strict=True)))
    assert ORDER.index(low) <= ORDER.index(high)


def test_a_terrible_and_rare_failure_comes_before_a_mild_and_frequent_one() -> None:
    assert priority_of(10, 2, 1) is Priority.HIGH
    assert priority_of(3, 9, 9) is Priority.MEDIUM
    assert 10 * 2 * 1 < 3 * 9 * 9


def test_an_open_severe_failure_stops_whatever_its_product() -> None:
    rows: list[dict[str, Any]] = [
        {"id": "F1", "severity": 9, "occurrence": 1, "detection": 1, "status": "open"},
        {"id": "F2", "severity": 8, "occurrence": 10, "detection": 10, "status": "open"},
        {"id": "F3", "severity": 10, "occurrence": 1, "detection": 1, "status": "closed"},
        {"id": "F4", "severity": 10, "occurrence": 1, "detection": 1},
        {"id": "F5", "severity": "low", "status": "open"},
    ]
    assert open_severe(rows) == ["F1", "F4", "F5"]


@given(st.integers(1, 10_000), st.data())
def test_occurrence_grows_with_the_measured_rate(tried: int, data: st.DataObject) -> None:
    failed = data.draw(st.integers(0, tried - 1))
    assert 1 <= occurrence_of(tried, failed) <= occurrence_of(tried, failed + 1) <= 10


def test_occurrence_is_not_lower_than_what_the_tests_showed() -> None:
    tests = [Trial("X1", "F1", "I1", "safety", "malicious-use", 16, 12)]
    assert occurrence_of(16, 12) == 10
    first = {"id": "F1", "severity": 5, "occurrence": 2, "detection": 2}
    (row,) = copied([first], tests)
    assert (row["occurrence"], row["rpn"], row["status"]) == (10, 100, "open")
    assert too_low([first], tests)
    assert not too_low([row], tests)


def test_scores_are_made_anew_and_what_people_wrote_stays() -> None:
    row = {"id": "F1", "severity": 9, "occurrence": 3, "detection": 2, "rpn": 1, "priority": "low"}
    assert scored([row]) == [{**row, "rpn": 54, "priority": "high"}]
    assert scored(scored([row])) == scored([row])
    assert scored([{"id": "F2", "severity": "much"}]) == [{"id": "F2", "severity": "much"}]
