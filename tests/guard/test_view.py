"""Disguises that people use against word lists, and what rules see of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.guard.view import Viewer, undisguised, view_of


@pytest.mark.parametrize(
    "disguised",
    [
        "PIPE bomb",
        "pi\u200bpe\u200d bo\u2060mb",
        "ｐｉｐｅ ｂｏｍｂ",
        "𝓹𝓲𝓹𝓮 𝕓𝕠𝕞𝕓",
        "рiре bоmb",
        "píp̈e  bómb",
        "pipe\n\t bomb",
        "pi\u00adpe bomb",
        "pipe\u3164 bomb",
        "\u202epipe bomb",
        "ⓟⓘⓟⓔ bomb",
    ],
)
def test_a_disguise_is_seen_through(disguised: str) -> None:
    assert view_of(disguised) == "pipe bomb"


def test_digits_for_letters_are_seen_through_in_a_view_of_their_own() -> None:
    assert undisguised(view_of("p1p3 b0mb")) == "pipe bomb"
    assert view_of("4 eggs, 3 cups") == "4 eggs, 3 cups"


@given(st.text(), st.lists(st.integers(0, 1000), max_size=5))
def test_the_view_of_a_stream_does_not_depend_on_its_cuts(text: str, places: list[int]) -> None:
    marks = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    viewer = Viewer()
    views = [viewer.feed(text[a:b]) for a, b in itertools.pairwise(marks)]
    assert "".join(view.text for view in views) == view_of(text)
    origins = [origin for view in views for origin in view.origins]
    assert origins == sorted(origins)
    assert all(0 <= origin < len(text) for origin in origins)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_fast_way_for_ascii_sees_the_same(text: str) -> None:
    assert view_of(text) == Viewer().feed(text).text


@given(st.text(alphabet=st.characters(categories=["Cs", "Lo", "Cn", "Cf", "Mn"])))
def test_any_characters_have_a_view_that_can_be_encoded(text: str) -> None:
    view_of(text).encode()
