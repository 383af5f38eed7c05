"""Entries: canonical, bounded, of a known kind; commitments that cannot be guessed open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.errors import Invalid
from dutchdoor.evidence.model import (
    ENTRY_BYTES_MAX,
    Entry,
    EntryKind,
    Opening,
    commit,
    new_salt,
)
from tests.evidence.parts import BEGIN_MS, small

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.sampled_from(EntryKind), st.integers(0, 2**53 - 1), st.dictionaries(st.text(), VALUES))
def test_entries_round_trip(kind: EntryKind, time_ms: int, body: dict[str, object]) -> None:
    entry = Entry(kind, time_ms, body)
    assert Entry.decode(entry.encode()) == entry


@given(st.binary(max_size=80))
def test_noise_raises_only_our_errors(data: bytes) -> None:
    with pytest.raises(Invalid):
        Entry.decode(data)


def test_an_entry_is_bounded() -> None:
    room = ENTRY_BYTES_MAX - len(Entry(EntryKind.PERSON_REMOVED, 1, {"person": ""}).encode())
    assert len(Entry(EntryKind.PERSON_REMOVED, 1, {"person": "x" * room}).encode()) == 65_535
    with pytest.raises(Invalid):
        Entry(EntryKind.PERSON_REMOVED, 1, {"person": "x" * (room + 1)}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b'{"body":{},"kind":"log_opened","time_ms":1,"v":2}',
        b'{"body":{},"kind":"log_opened","time_ms":true,"v":1}',
        b'{"body":{},"kind":"log_opened","time_ms":"1","v":1}',
        b'{"body":[],"kind":"log_opened","time_ms":1,"v":1}',
        b'{"body":{},"kind":"other","time_ms":1,"v":1}',
        b'{"body":{},"kind":5,"time_ms":1,"v":1}',
        b'{"body":{},"kind":"log_opened","time_ms":1,"v":1,"x":1}',
        b'{"kind":"log_opened","time_ms":1,"v":1}',
    ],
)
def test_an_entry_out_of_form_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid):
        Entry.decode(data)


def test_commitments_differ_for_equal_contents() -> None:
    first, second = Opening(new_salt(), b"x"), Opening(new_salt(), b"x")
    assert commit(first) != commit(second)
    assert commit(first) == commit(first)
    assert small(1).time_ms == BEGIN_MS
