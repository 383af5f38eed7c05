"""Documents read back as they were written, and nothing clever gets in through front matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.audit.document import (
    DOCUMENT_BYTES_MAX,
    Document,
    digest_of,
    fill,
    read_document,
    write_document,
)
from dutchdoor.errors import DutchdoorError, Invalid, NotFound

words = st.text(st.characters(codec="utf-8"), max_size=30)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(words, plain, max_size=5))
def test_front_matter_reads_back_exactly(front: dict[str, Any]) -> None:
    document = Document(front, "# Body\n")
    again = Document.decode(document.encode())
    assert again.front == front
    assert again.encode() == document.encode()


@given(words)
def test_a_body_reads_back_but_for_the_space_around_it(body: str) -> None:
    once = Document.decode(Document({"a": 1}, body).encode())
    assert Document.decode(once.encode()) == once


@given(st.binary(max_size=200))
def test_unverified_bytes_give_a_document_or_our_own_error(data: bytes) -> None:
    for attempt in (data, b"---\n" + data + b"\n---\n"):
        try:
            Document.decode(attempt)
        except DutchdoorError:
            continue


@pytest.mark.parametrize(
    "front",
    [
        "a: &x [1]\nb: *x",
        "a: 1\na: 2",
        "a: !!python/object/apply:os.system [echo]",
        "1: one",
        "? [a]\n: b",
        "a: !!binary aGk=",
        "a: !!set {x}",
        "a: [",
        "- a list",
        "a: " + "[" * 5000,
    ],
)
def test_front_matter_that_is_more_than_plain_values_is_refused(front: str) -> None:
    with pytest.raises(Invalid):
        Document.decode(f"---\n{front}\n---\nbody\n".encode())


def test_dates_and_fractions_stay_text() -> None:
    front = b"day: 2026-12-01\nrate: 0.10\nn: 3\nyes: true\ncountry: no\ntime: 1:30\nold: 010\nx: ~"
    assert Document.decode(b"---\n" + front + b"\n---\n").front == {
        "day": "2026-12-01",
        "rate": "0.10",
        "n": 3,
        "yes": True,
        "country": "no",
        "time": "1:30",
        "old": "010",
        "x": None,
    }


def test_what_is_no_document_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"# no front matter\n", b"text\n---\na: 1\n---\n", b"---\na: \xff\n---\n"):
        with pytest.raises(Invalid):
            Document.decode(data)
    with pytest.raises(Invalid):
        Document.decode(b"x" * (DOCUMENT_BYTES_MAX + 1))
    with pytest.raises(NotFound):
        read_document(tmp_path / "none.md")


def test_a_file_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.md"
    write_document(path, Document({"a": "one\ntwo"}, "body"))
    before = digest_of(path)
    write_document(path, Document({"a": "one\ntwo"}, "body\n\n"))
    assert digest_of(path) == before
    assert [entry.name for entry in path.parent.iterdir()] == ["b.md"]
    assert read_document(path).front == {"a": "one\ntwo"}


def test_a_generated_part_is_replaced_and_the_rest_stays() -> None:
    once = fill("before\n", "part", "one")
    twice = fill(once + "after\n", "part", "two")
    assert "one" not in twice
    assert twice.index("before") < twice.index("two") < twice.index("after")
    assert fill(twice, "other", "three").count("generated:") == 2
