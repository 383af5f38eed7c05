"""Samples are chosen evenly and repeatably, and answers are matched as whole words."""

from __future__ import annotations

from collections import Counter

from dutchdoor.audit.items import (
    answers_correctly,
    benign_lookalikes,
    choose,
    harmful,
    short_answers,
)
from dutchdoor.guard.model import HAZARDS


def test_a_seed_chooses_the_same_samples_evenly_over_the_hazards() -> None:
    one, again, other = (choose(harmful(), 40, seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    counts = Counter(item.category for item in one)
    assert set(counts) == set(HAZARDS)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({item.id for item in one}) == 40


def test_more_samples_than_there_are_gives_all_of_them_once() -> None:
    items = short_answers()
    assert sorted(choose(items, 1000, 0), key=lambda item: item.id) == sorted(
        items, key=lambda item: item.id
    )
    assert len(items) == len({item.text for item in items}) == 40


def test_the_benign_samples_are_look_alikes_and_none_is_harmful() -> None:
    assert len(benign_lookalikes()) >= 40
    assert not {item.text for item in benign_lookalikes()} & {item.text for item in harmful()}


def test_every_question_is_answered_by_its_own_answers_and_not_by_itself() -> None:
    for item in short_answers():
        assert not answers_correctly(item.text, item.answers), item.id
        for answer in item.answers:
            assert answers_correctly(f"It is {answer}.", item.answers), item.id


def test_an_answer_inside_another_word_does_not_count() -> None:
    assert not answers_correctly("The answer is 14.", ["4"])
    assert not answers_correctly("Parisian", ["Paris"])
    assert not answers_correctly("a day", ["D"])
    assert answers_correctly("PARIS!", ["Paris"])
