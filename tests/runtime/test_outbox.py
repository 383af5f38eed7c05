"""The last gate: whatever the order of events, its promises hold. Properties, not examples."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.runtime.outbox import Outbox
from dutchdoor.runtime.stops import StopMatcher

ALPHABET = "ab é🙂"
pieces = st.lists(st.binary(min_size=0, max_size=3), max_size=12)
texts = st.text(st.sampled_from(ALPHABET), max_size=30)
stops = st.lists(st.text(st.sampled_from(ALPHABET), min_size=1, max_size=4), max_size=3)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return [*parts, data]


def expected(text: str, wanted: list[str]) -> str:
    """The text before the first stop string to be complete."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in wanted if text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)]
    return text


@given(texts, stops, st.lists(st.integers(0, 3), max_size=20))
def test_the_text_ends_before_the_first_stop_however_it_is_cut(
    text: str, wanted: list[str], sizes: list[int]
) -> None:
    outbox = Outbox("a", stops=wanted, is_judged=False)
    released = ""
    for data in cut(text.encode(), sizes):
        outbox.add(1, data, None, [])
        released += "".join(token.text for token in outbox.take())
        assert expected(text, wanted).startswith(released), "nothing is taken back"
        if outbox.has_ended:
            break
    outbox.end()
    released += "".join(token.text for token in outbox.take())
    assert released == expected(text, wanted)
    assert outbox.is_empty


@given(pieces)
def test_the_tokens_of_a_finished_text_are_its_bytes(tokens: list[bytes]) -> None:
    outbox = Outbox("a", stops=[], is_judged=False)
    released = []
    for data in tokens:
        outbox.add(1, data, None, [])
        released += outbox.take()
    outbox.end()
    released += outbox.take()
    assert [token.data for token in released] == tokens
    text = "".join(token.text for token in released)
    assert text == b"".join(tokens).decode("utf-8", "replace")


@given(
    st.lists(st.sampled_from(["add", "judge", "take", "block", "end"]), max_size=60),
    st.integers(0, 4),
    stops,
)
def test_never_more_than_the_bound_and_nothing_after_a_block(
    events: list[str], hold_back: int, wanted: list[str]
) -> None:
    outbox = Outbox("a", stops=wanted, is_judged=True, hold_back=hold_back)
    added = judged = released = 0
    blocked = False
    for event in events:
        if event == "add" and not outbox.has_ended:
            outbox.add(added, b"ab"[added % 2 : added % 2 + 1], None, [])
            added += 1
        elif event == "judge" and judged < added and not blocked:
            outbox.judged()
            judged += 1
        elif event == "block":
            outbox.block()
            blocked = True
        elif event == "end":
            outbox.end()
        tokens = outbox.take()
        assert not (blocked and tokens)
        assert [token.token_id for token in tokens] == list(range(released, released + len(tokens)))
        released += len(tokens)
        assert released <= judged + hold_back
        assert outbox.released == released


@given(texts, stops, st.lists(st.integers(0, 5), max_size=12))
def test_chunking_changes_neither_match_nor_certainty(
    text: str, wanted: list[str], sizes: list[int]
) -> None:
    whole, parts = StopMatcher(wanted), StopMatcher(wanted)
    whole.feed(text)
    rest = text
    for size in sizes:
        parts.feed(rest[:size])
        rest = rest[size:]
        assert parts.certain <= len(text) - len(rest)
    parts.feed(rest)
    assert (whole.match, whole.certain) == (parts.match, parts.certain)


def test_a_special_token_has_no_text() -> None:
    outbox = Outbox("a", stops=["|"], is_judged=False)
    outbox.add(1, b"<|im_start|>", None, [], is_special=True)
    (token,) = outbox.take()
    assert (token.text, token.data) == ("", b"<|im_start|>")
    outbox.add(2, b"|", None, [])
    assert outbox.has_stopped
    assert outbox.take() == []
    assert outbox.is_empty
