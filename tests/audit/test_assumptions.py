"""Dated assumptions: what is read later is what approvers signed."""

from __future__ import annotations

from typing import Any

import pytest

from dutchdoor.audit.assumptions import Assumption, parse_assumptions, read_assumptions
from dutchdoor.clock import from_iso
from dutchdoor.errors import Invalid

ROW = {"text": "no better open model exists", "expires": "2027-03-01"}


def test_an_assumption_is_read_back_from_the_signed_reasons() -> None:
    (assumption,) = parse_assumptions([ROW])
    reasons = f"# Why\n\nBecause.\n{assumption.to_line()}\n"
    assert read_assumptions(reasons) == (assumption,)
    assert assumption == Assumption("no better open model exists", "2027-03-01")
    assert assumption.expires_ms == from_iso("2027-03-01")


@pytest.mark.parametrize(
    "value",
    [
        {},
        "x",
        [ROW] * 101,
        [{"text": "x"}],
        [{**ROW, "more": 1}],
        [{**ROW, "text": " "}],
        [{**ROW, "text": "one\ntwo"}],
        [{**ROW, "expires": "soon"}],
        [{**ROW, "expires": "2027-02-30"}],
        [{**ROW, "expires": 20270301}],
        [5],
    ],
)
def test_what_is_no_assumption_is_refused(value: Any) -> None:
    with pytest.raises(Invalid):
        parse_assumptions(value)


def test_lines_with_impossible_dates_are_none() -> None:
    assert read_assumptions("Assumed until 2027-13-45: x\nAssumed until then: y") == ()
