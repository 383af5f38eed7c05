"""Intervals are right, and a score that does not follow from its samples is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.audit.measure import Evaluation, Interval, wilson
from dutchdoor.errors import Invalid


def evaluation(hits: int = 8, n: int = 10) -> Evaluation:
    return Evaluation.of(
        name="refusal",
        counts="refused",
        n=n,
        hits=hits,
        guard_stopped=0,
        seed=0,
        tokens_max=48,
        bundle="sha256:" + "a" * 64,
        access_depth="sampling",
        log="a.eval",
        log_digest="sha256:" + "b" * 64,
    )


def test_the_wilson_interval_is_that_of_a_published_example() -> None:
    # Newcombe 1998 (Statistics in Medicine 17: 857-872), table I: 81 / 263 and 0 / 20.
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = wilson(0, 20)
    assert (round(low, 4), round(high, 4)) == (0.0, 0.1611)


@given(st.integers(1, 500), st.data())
def test_the_interval_holds_the_rate_and_stays_a_rate(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n + 1e-12
    assert hits / n - 1e-12 <= high <= 1
    assert Evaluation.from_body(evaluation(hits, n).to_body()) == evaluation(hits, n)


def test_figures_that_do_not_fit_together_are_refused() -> None:
    body = evaluation().to_body()
    changes = ({"score": "0.900"}, {"hits": 9}, {"n": 0}, {"hits": 11}, {"n": "10"}, {"also": 1})
    for change in changes:
        with pytest.raises(Invalid):
            Evaluation.from_body({**body, **change})
    with pytest.raises(Invalid):
        Evaluation.from_body({name: body[name] for name in body if name != "seed"})
    with pytest.raises(Invalid):
        Evaluation.from_body("0.8")


OTHERS = {
    "guard_stopped": 0,
    "seed": 0,
    "tokens_max": 8,
    "bundle": "sha256:" + "a" * 64,
    "access_depth": "logprobs",
    "log": "a.eval",
    "log_digest": "sha256:" + "b" * 64,
}


def test_a_value_and_what_was_not_measured_are_told_apart_from_rates() -> None:
    value = Evaluation.valued(
        name="calibration",
        counts="calibration error",
        n=40,
        value=0.25,
        interval=Interval(0.2, 0.3),
        details={"bins": "10"},
        **OTHERS,
    )
    missing = Evaluation.not_measured(
        name="calibration", counts="calibration error", why="depth missing: logprobs", **OTHERS
    )
    assert value.text == "calibration error 0.250 (95 %: 0.200 to 0.300), n = 40"
    assert missing.text == "not measured: depth missing: logprobs"
    assert not missing.is_measured
    for row in (value, missing):
        assert Evaluation.from_body(row.to_body()) == row
    changes: list[tuple[Evaluation, dict[str, object]]] = [
        (value, {"score": "0.900"}),
        (value, {"score": "good"}),
        (value, {"n": 0}),
        (value, {"measure": "rate"}),
        (value, {"details": {"bins": 10}}),
        (missing, {"score": "0.000"}),
        (missing, {"why": ""}),
        (missing, {"measure": "other"}),
    ]
    for row, change in changes:
        with pytest.raises(Invalid):
            Evaluation.from_body({**row.to_body(), **change})
