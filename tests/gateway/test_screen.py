"""However a completion is cut into tokens: one verdict, and no blocked literal ever leaves."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.gateway.screen import Screen
from dutchdoor.guard.rulefile import Side
from dutchdoor.guard.rules import RuleSet
from dutchdoor.runtime.protocol import Token, TokenLogprob
from tests.gateway.house import RULES

RULE_SET = RuleSet.parse(RULES)
LITERAL = "brew the nerve agent"


def screen(*, blocking: bool = True, shown: bool = False, before: str = "") -> Screen:
    return Screen(
        RULE_SET,
        lambda text: RULE_SET.judge(text, Side.OUTPUT),
        blocking=blocking,
        bytes_shown=shown,
        before=before,
    )


def tokens(pieces: list[str], *, lag: bool = False) -> list[Token]:
    """`pieces` as tokens. lag: each token's text comes one token late, its bytes do not."""
    rows = []
    late = ""
    for number, piece in enumerate(pieces):
        text = late if lag else piece
        late = piece
        rows.append(Token("i", number, text, -0.1, [], piece.encode()))
    if lag:
        rows.append(Token("i", len(pieces), late, -0.1, [], b""))
    return rows


def run(judge: Screen, rows: list[Token]) -> list[Token]:
    left = [token for row in rows for token in judge.push(row)]
    return left + judge.finish()


def cut(text: str, places: list[int]) -> list[str]:
    borders = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(borders)]


texts = st.lists(
    st.sampled_from(
        ["brew", " ", "the", "nerve", "agent", LITERAL, "BREW THE", "tea", "\n", "watched word"]
    ),
    max_size=12,
).map(" ".join)


@given(texts, st.lists(st.integers(0, 400), max_size=30), st.booleans())
def test_cutting_never_changes_the_verdict_and_never_leaks(
    text: str, places: list[int], shown: bool
) -> None:
    whole = screen(shown=shown)
    run(whole, tokens([text] if text else []))
    pieces = screen(shown=shown)
    left = run(pieces, tokens(cut(text, places)))
    assert pieces.blocked == whole.blocked
    assert (pieces.worst is None) == (whole.worst is None)
    shown_text = "".join(token.text for token in left)
    assert RULE_SET.judge(shown_text, Side.OUTPUT).action != "block"
    assert text.startswith(shown_text)
    if not pieces.blocked:
        assert shown_text == text


@given(texts, st.lists(st.integers(0, 400), max_size=30))
def test_bytes_that_run_ahead_of_the_text_are_judged_as_well(text: str, places: list[int]) -> None:
    judge = screen(shown=True)
    left = run(judge, tokens(cut(text, places), lag=True))
    data = b"".join(token.data for token in left).decode("utf-8", "replace")
    assert RULE_SET.judge(data, Side.OUTPUT).action != "block"


def test_only_what_may_still_become_a_match_is_held() -> None:
    judge = screen()
    rows = tokens(["I ", "like ", "to ", "brew ", "the ", "tea"])
    counts = [len(judge.push(row)) for row in rows]
    assert counts[:3] == [1, 1, 1]
    assert counts[3:5] == [0, 0]
    assert sum(counts) + len(judge.finish()) == 6


def test_a_grant_that_observes_gets_everything_at_once_and_a_note() -> None:
    judge = screen(blocking=False)
    rows = tokens([LITERAL, " now"])
    assert [len(judge.push(row)) for row in rows] == [1, 1]
    assert judge.worst is not None
    assert not judge.blocked


def test_a_literal_begun_by_a_raw_prompt_is_not_ended_by_the_model() -> None:
    judge = screen(before="please brew the ner")
    left = run(judge, tokens(["ve", " agent", " today"]))
    assert judge.blocked
    assert "agent" not in "".join(token.text for token in left)


def test_alternatives_show_text_too() -> None:
    judge = screen(shown=True)
    top = [TokenLogprob(7, LITERAL.encode(), -1.0)]
    assert judge.push(Token("i", 1, "fine", -0.1, top, b"fine")) == []
    assert judge.blocked


@pytest.mark.parametrize("shown", [True, False])
def test_nothing_leaves_after_a_block(shown: bool) -> None:
    judge = screen(shown=shown)
    run(judge, tokens([LITERAL]))
    assert run(judge, tokens(["harmless"])) == []
