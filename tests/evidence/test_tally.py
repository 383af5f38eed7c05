"""Votes are counted as the method says, in any order, and twice by code that shares nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.evidence.panel_book import result_body
from dutchdoor.evidence.panels import Ballot, Member, Opening, Rule
from dutchdoor.evidence.tally import count
from dutchdoor.evidence.verify.panels import _recount
from tests.evidence.panel_parts import OPENING

OPTIONS = ("A", "B", "C", "D", "E")


def election(rows: Sequence[tuple[int, str]], **terms: Any) -> tuple[Opening, list[Ballot]]:
    """rows: how many, and a ranking like `A>B=C`; "" is a ballot that names nothing."""
    ballots = []
    for number, text in rows:
        ranks = tuple(tuple(rank.split("=")) for rank in text.split(">")) if text else ()
        ballots += [(ranks, number)] * number
    cast = [Ballot("p", f"m{place}", ranks, "", 0) for place, (ranks, _) in enumerate(ballots)]
    members = tuple(Member(row.member, place.to_bytes(32, "big")) for place, row in enumerate(cast))
    opening = replace(
        OPENING,
        panel="p",
        rule=Rule.RANKED,
        percent_min=0,
        quorum=1,
        options=OPTIONS,
        members=members,
    )
    return replace(opening, **terms), cast


SCHULZE_2011 = [
    (5, "A>C>B>E>D"),
    (5, "A>D>E>C>B"),
    (8, "B>E>D>A>C"),
    (3, "C>A>B>E>D"),
    (7, "C>A>E>B>D"),
    (2, "C>B>A>D>E"),
    (7, "D>C>E>B>A"),
    (8, "E>B>A>D>C"),
]
"""The example of 45 voters that is usually given for the method; E wins it."""


def test_the_method_of_schulze_gives_the_published_winner() -> None:
    opening, ballots = election(SCHULZE_2011)
    tally = count(opening, ballots)
    assert tally.outcome == "E"
    assert (tally.pairwise["A"]["C"], tally.pairwise["C"]["A"]) == (26, 19)
    assert (tally.pairwise["E"]["D"], tally.pairwise["D"]["E"]) == (31, 14)


def test_whom_all_prefer_to_each_other_wins_though_few_rank_it_first() -> None:
    # Instant run-off would strike B in the first round.
    opening, ballots = election([(4, "A>B>C"), (3, "C>B>A"), (2, "B>C>A")], options=tuple("ABC"))
    assert count(opening, ballots).outcome == "B"


def test_a_tie_has_no_outcome() -> None:
    opening, ballots = election([(2, "A>B"), (2, "B>A")])
    assert count(opening, ballots).outcome == ""
    opening, ballots = election(
        [(2, "A"), (2, "B")], rule=Rule.APPROVAL, percent_min=0, options=("A", "B")
    )
    assert count(opening, ballots).outcome == ""


@pytest.mark.parametrize(("percent", "outcome"), [(50, "A"), (59, "A"), (60, ""), (99, "")])
def test_an_approval_must_exceed_its_share_of_all_who_voted(percent: int, outcome: str) -> None:
    opening, ballots = election(
        [(3, "A"), (1, "B"), (1, "")], rule=Rule.APPROVAL, percent_min=percent
    )
    assert count(opening, ballots).outcome == outcome


def test_nobody_votes_and_nothing_follows() -> None:
    opening, _ = election([(3, "A")])
    for rule in Rule:
        assert count(replace(opening, rule=rule), []).outcome == ""


@st.composite
def elections(draw: st.DrawFn) -> tuple[Opening, list[Ballot]]:
    options = OPTIONS[: draw(st.integers(2, 5))]
    rule = draw(st.sampled_from(Rule))
    rows = []
    for _ in range(draw(st.integers(1, 9))):
        order = draw(st.permutations(options))[: draw(st.integers(0, len(options)))]
        signs = draw(st.lists(st.sampled_from(">="), min_size=5, max_size=5))
        if rule is Rule.APPROVAL:
            signs = ["="] * 5
        text = "".join(o + s for o, s in zip(order, signs, strict=False)).rstrip(">=")
        rows.append((1, text))
    terms = {
        "rule": rule,
        "options": options,
        "percent_min": draw(st.integers(0, 99)) if rule is Rule.APPROVAL else 0,
        "quorum": draw(st.integers(1, len(rows))),
    }
    opening, ballots = election(rows, **terms)
    reasons = draw(st.lists(st.sampled_from(["", "no"]), min_size=9, max_size=9))
    return opening, [replace(b, reason=r) for b, r in zip(ballots, reasons, strict=False)]


@given(elections(), st.randoms())
@settings(max_examples=150, deadline=None)
def test_the_verifiers_recount_and_every_order_of_the_ballots_give_the_same(
    given_election: tuple[Opening, list[Ballot]], random: Any
) -> None:
    opening, ballots = given_election
    expected = result_body(opening, count(opening, ballots))
    cast = {row.member: ([list(rank) for rank in row.choice], row.reason) for row in ballots}
    assert _recount(opening.to_body(), cast) == expected
    random.shuffle(ballots)
    assert result_body(opening, count(opening, ballots)) == expected
