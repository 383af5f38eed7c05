"""What must not leave does not leave, however the stream is cut; the rest leaves at once."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.errors import Invalid
from dutchdoor.guard.holdback import TAIL_CHARACTERS_MAX, Forbidden, HoldBack

few = st.text(alphabet="abc", max_size=40)
literals = st.lists(st.text(alphabet="abc", min_size=1, max_size=6), min_size=1, max_size=6)


def cut(text: str, places: list[int]) -> list[str]:
    """`text` in chunks, cut at `places` (each modulo its length)."""
    marks = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[a:b] for a, b in itertools.pairwise(marks)]


def through(forbidden: Forbidden, chunks: list[str]) -> tuple[str, str | None]:
    hold = HoldBack(forbidden)
    released = "".join(hold.feed(chunk) for chunk in chunks)
    return released + hold.finish(), hold.blocked


@given(few, literals, st.lists(st.integers(0, 1000)), st.integers(0, 5))
def test_cutting_the_stream_differently_releases_the_same(
    text: str, forbidden: list[str], places: list[int], tail: int
) -> None:
    automaton = Forbidden(forbidden, tail)
    whole = through(automaton, [text])
    assert through(automaton, cut(text, places)) == whole
    assert through(automaton, list(text)) == whole


@given(few, literals)
def test_a_forbidden_literal_stops_the_stream_before_its_first_character(
    text: str, forbidden: list[str]
) -> None:
    released, blocked = through(Forbidden(forbidden), list(text))
    ends = [text.find(f) + len(f) for f in forbidden if f in text]
    assert (blocked is not None) == bool(ends)
    if not ends:
        assert released == text
        return
    first = min(ends)
    start = min(first - len(f) for f in forbidden if text[:first].endswith(f))
    assert text.startswith(released)
    assert len(released) <= start
    assert not any(f in released for f in forbidden)


@given(few, literals)
def test_only_what_may_still_become_a_literal_is_held(text: str, forbidden: list[str]) -> None:
    hold = HoldBack(Forbidden(forbidden))
    fed = ""
    for character in text:
        hold.feed(character)
        fed += character
        if hold.blocked is not None:
            return
        ends = [n for n in range(len(fed) + 1) if any(f.startswith(fed[n:]) for f in forbidden)]
        assert hold.held == len(fed) - min(ends)


def test_ordinary_text_is_not_delayed() -> None:
    hold = HoldBack(Forbidden(["secret-canary"]))
    assert hold.feed("a plain answer") == "a plain answer"
    assert hold.feed(" sec") == " "
    assert hold.held == 3
    assert hold.feed("ond") == "second"


def test_a_tail_is_held_whatever_it_is() -> None:
    hold = HoldBack(Forbidden([], tail=4))
    assert hold.feed("abcdef") == "ab"
    assert hold.finish() == "cdef"


def test_after_a_block_nothing_leaves_ever() -> None:
    hold = HoldBack(Forbidden(["no"]))
    assert hold.feed("yes, no, yes") == "yes, "
    assert hold.blocked == "no"
    assert hold.feed("more") == ""
    assert hold.finish() == ""


@pytest.mark.parametrize("tail", [-1, TAIL_CHARACTERS_MAX + 1])
def test_a_tail_out_of_bounds_is_refused(tail: int) -> None:
    with pytest.raises(Invalid, match="tail"):
        Forbidden(["a"], tail)


def test_an_empty_literal_is_refused() -> None:
    with pytest.raises(Invalid, match="empty"):
        Forbidden(["a", ""])
