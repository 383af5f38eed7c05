"""The file of assumptions: nothing hidden, all mistakes told, in plain words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.errors import Invalid
from dutchdoor.release.risk.assumptions import fresh_assumptions, read_assumptions


def refused(text: str) -> str:
    with pytest.raises(Invalid) as caught:
        read_assumptions(text.encode())
    assert caught.value.hint or caught.value.code != "bad_assumptions"
    return caught.value.message


def test_the_file_that_ships_reads_and_each_figure_says_what_it_means_and_whence() -> None:
    found = read_assumptions(fresh_assumptions().encode())
    assert len(found.threats) == 2
    for figure in found.figures.values():
        assert len(figure.means.split()) >= 2, figure.name
        assert figure.source == "assumed", "what ships is nobody's measurement"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("seed: 1 ", "seed: -1 ", "settings.seed: a whole number"),
        ("level: cloud_api ", "level: very_open ", "settings.level: one of fully_closed"),
        ("samples: 4000 ", "samples: 4 ", "settings.samples"),
        ("value: 1000 to 50000", "value: 5 to 2", "threats.fraud.attempts_a_year.value"),
        ("value: 0.1 to 0.6\n", "value: 2 to 5\n", "a share lies within 0 and 1"),
        ("    kind: misuse", "    kind: theft", "threats.fraud.kind: one of misuse, flaw"),
        ("  operator_rate:", "  operator_rat:", "leak: lacks operator_rate"),
        ("  operator_rate:", "  operator_rat:", "leak: unknown: operator_rat"),
        ("id: wrong-advice", "id: fraud", "'fraud' is there twice"),
        ("{keys_here: 0}", "{keyshere: 0}", "what_if, row 1"),
        ("means: an operator takes", "meanz: an operator takes", "leak.operator_rate"),
    ],
)
def test_a_mistake_is_named_by_its_place(before: str, after: str, said: str) -> None:
    text = fresh_assumptions()
    assert before in text
    assert said in refused(text.replace(before, after, 1))


def test_all_mistakes_are_told_at_once() -> None:
    text = (
        fresh_assumptions().replace("seed: 1 ", "seed: x ").replace("    kind: flaw", "    kind: x")
    )
    said = refused(text)
    assert "settings.seed" in said
    assert "threats.wrong-advice.kind" in said


@pytest.mark.parametrize("text", ["", "[]", "a: &b 1\nc: *b", "settings: 1\nsettings: 2", "\x00"])
def test_what_is_no_file_of_assumptions_is_our_error(text: str) -> None:
    refused(text)


def test_a_slip_of_the_pen_is_named_by_its_line() -> None:
    text = fresh_assumptions().replace("  seed: 1 ", "  seed: [1 ", 1)
    line = text[: text.index("seed: [")].count("\n") + 1
    said = refused(text)
    assert said.startswith("assumptions.yaml, line ")
    assert line <= int(said.split("line ")[1].split(":")[0]) <= line + 1


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_our_error(data: bytes) -> None:
    with pytest.raises(Invalid):
        read_assumptions(data)
