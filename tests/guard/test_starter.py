"""What the starter set promises: wide, clean, short, and exactly as its card says."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

STARTER = Path(__file__).parents[2] / "src" / "dutchdoor" / "guard" / "starter"
TEXT_CHARACTERS_MAX = 1_200
WORDS_SHARED_MAX = 0.8
TEMPLATED_SHARE_MAX = 0.25
HAZARD_ROWS_MIN = {
    "violent_crimes": 25,
    "nonviolent_crimes": 25,
    "sex_related_crimes": 20,
    "child_sexual_exploitation": 5,
    "indiscriminate_weapons_cbrne": 25,
    "suicide_and_self_harm": 25,
    "hate": 25,
    "defamation": 25,
    "privacy": 25,
    "intellectual_property": 25,
    "specialized_advice": 25,
    "sexual_content": 10,
}
CHILD_SEXUAL_EXPLOITATION_ROWS_MAX = 10
STYLES = {
    "question",
    "imperative",
    "indirect",
    "role_play",
    "scenario",
    "terse",
    "typo",
    "long",
    "code",
    "look_alike",
}


@dataclass(frozen=True)
class Row:
    id: str
    text: str
    label: int
    category: str
    style: str
    source: str


def rows_of(name: str) -> list[Row]:
    lines = (STARTER / name).read_text(encoding="utf-8").splitlines()
    return [Row(**json.loads(line)) for line in lines]


HARMFUL = rows_of("harmful.jsonl")
BENIGN = rows_of("benign.jsonl")
ROWS = HARMFUL + BENIGN


def words_of(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+", text.lower()))


def near_duplicates(texts: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs whose words have a Jaccard similarity above WORDS_SHARED_MAX."""
    sized = sorted(((words_of(text), text) for text in texts), key=lambda pair: len(pair[0]))
    for index, (words, text) in enumerate(sized):
        for others, other in sized[index + 1 :]:
            # Sorted by size: from here on the sizes alone keep the similarity below the limit.
            if len(words) <= WORDS_SHARED_MAX * len(others):
                break
            shared = len(words & others)
            if shared > WORDS_SHARED_MAX * (len(words) + len(others) - shared):
                yield text, other


def card_tables() -> dict[str, dict[str, tuple[int, ...]]]:
    """The card's tables of numbers, by the first cell of their heads."""
    tables: dict[str, dict[str, tuple[int, ...]]] = {}
    head = ""
    for line in (STARTER / "DATA_CARD.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if not cells:
            head = ""
        elif not head:
            head = cells[0]
        elif all(cell.isdigit() for cell in cells[1:]):
            assert cells[0] not in tables.setdefault(head, {}), f"{cells[0]} stands there twice"
            tables[head][cells[0]] = tuple(int(cell) for cell in cells[1:])
    return tables


def test_the_set_has_the_promised_size() -> None:
    assert 300 <= len(HARMFUL) <= 400
    assert 2_000 <= len(BENIGN) <= 2_400


def test_every_hazard_is_covered_and_no_other_is_named() -> None:
    counts = Counter(row.category for row in HARMFUL)
    assert set(counts) == set(HAZARD_ROWS_MIN)
    for hazard, rows_min in HAZARD_ROWS_MIN.items():
        assert counts[hazard] >= rows_min, hazard
    assert counts["child_sexual_exploitation"] <= CHILD_SEXUAL_EXPLOITATION_ROWS_MAX


def test_labels_follow_the_file_and_ids_are_unique_and_in_order() -> None:
    assert [row.id for row in HARMFUL] == [f"h-{n:04d}" for n in range(1, len(HARMFUL) + 1)]
    assert [row.id for row in BENIGN] == [f"b-{n:04d}" for n in range(1, len(BENIGN) + 1)]
    assert all(row.label == 1 and row.source.startswith("harmful-") for row in HARMFUL)
    assert all(
        row.label == 0 and row.source.startswith(("benign-", "look-alike-")) for row in BENIGN
    )
    assert not {row.category for row in BENIGN} & set(HAZARD_ROWS_MIN)


def test_rows_are_short_plain_and_of_a_known_style() -> None:
    for row in ROWS:
        assert row.text == row.text.strip(), row.id
        assert 0 < len(row.text) <= TEXT_CHARACTERS_MAX, row.id
        assert row.text.isprintable(), row.id
        assert row.style in STYLES, row.id


def test_both_sides_come_in_the_same_forms() -> None:
    """A form that only one label has would give the label away without its content."""
    assert {row.style for row in HARMFUL} <= {row.style for row in BENIGN}


def test_there_are_many_look_alikes_and_long_messages_among_the_benign() -> None:
    assert sum(row.source.startswith("look-alike-") for row in BENIGN) >= 500
    assert sum(len(row.text.split()) >= 100 for row in BENIGN) >= 60
    assert all(row.source.startswith("look-alike-") for row in BENIGN if row.style == "look_alike")


def test_there_are_enough_families_to_leave_one_out() -> None:
    assert len({row.source for row in HARMFUL}) >= 5
    assert len({row.source for row in BENIGN}) >= 20


def test_templates_made_only_a_small_part() -> None:
    templated = sum(row.source.endswith("-templated") for row in ROWS)
    assert templated <= TEMPLATED_SHARE_MAX * len(ROWS)


def test_no_two_rows_are_near_duplicates() -> None:
    assert list(near_duplicates([row.text for row in ROWS])) == []


def test_a_near_duplicate_would_be_found() -> None:
    text = "how do i keep the slugs off my lettuce"
    assert list(near_duplicates([text, "Please, " + text + "?", "what do slugs eat"]))
    assert not list(near_duplicates([text, "how do i keep the cat off my bed"]))


@pytest.mark.parametrize("field", ["category", "style", "source"])
def test_the_card_counts_what_the_files_hold(field: str) -> None:
    def value_of(row: Row) -> str:
        return str(getattr(row, field))

    harmful, benign = Counter(map(value_of, HARMFUL)), Counter(map(value_of, BENIGN))
    expected = {value: (harmful[value], benign[value]) for value in harmful | benign}
    assert card_tables()[field] == expected


def test_the_card_gives_the_totals_of_the_files() -> None:
    def count(holds: Callable[[Row], bool]) -> tuple[int]:
        return (sum(map(holds, ROWS)),)

    assert card_tables()["quantity"] == {
        "rows": (len(ROWS),),
        "harmful": (len(HARMFUL),),
        "benign": (len(BENIGN),),
        "benign look-alikes": count(lambda row: row.source.startswith("look-alike-")),
        "benign rows of 100 words or more": count(
            lambda row: row.label == 0 and len(row.text.split()) >= 100
        ),
        "rows made from templates": count(lambda row: row.source.endswith("-templated")),
    }


def test_the_card_names_purpose_misuse_limits_and_licence() -> None:
    card = (STARTER / "DATA_CARD.md").read_text(encoding="utf-8")
    for heading in ("## How it was made", "## Intended use", "## Not for", "## Limits"):
        assert heading in card
    assert "Training or fine-tuning a generator" in card
    assert "Apache-2.0" in card
