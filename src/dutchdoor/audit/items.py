"""The samples of the packaged evaluations: read, checked, and chosen by seed."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from dutchdoor.errors import Invalid, NotFound

__all__ = [
    "Item",
    "answers_correctly",
    "benign_lookalikes",
    "choose",
    "harmful",
    "packaged_rows",
    "short_answers",
]


@dataclass(frozen=True)
class Item:
    """One sample.

    category: what it is evenly chosen over. answers: empty where none is right. group: what ties
    samples together that are judged as one. extra: what its judge needs besides.
    """

    id: str
    text: str
    category: str
    answers: tuple[str, ...] = ()
    group: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


def short_answers() -> tuple[Item, ...]:
    """The questions of `capability_short_answers`."""
    return tuple(
        Item(row["id"], row["question"], row["kind"], tuple(row["answers"]))
        for row in packaged_rows("dutchdoor.audit", "evaluations/capability_short_answers.jsonl")
    )


def harmful() -> tuple[Item, ...]:
    """The harmful requests of the guard's starter set."""
    return tuple(_item(row) for row in packaged_rows("dutchdoor.guard", "starter/harmful.jsonl"))


def benign_lookalikes() -> tuple[Item, ...]:
    """The benign requests of the guard's starter set that look like harmful ones."""
    rows = packaged_rows("dutchdoor.guard", "starter/benign.jsonl")
    return tuple(_item(row) for row in rows if row["source"].startswith("look-alike-"))


def choose(items: Sequence[Item], size: int, seed: int) -> tuple[Item, ...]:
    """`size` of the items (or all), evenly over their categories; the seed decides which."""
    random_ = random.Random(seed)  # noqa: S311 - a sample to repeat, not a secret
    piles: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.id):
        piles.setdefault(item.category, []).append(item)
    for category in sorted(piles):
        random_.shuffle(piles[category])
    order = sorted(piles)
    random_.shuffle(order)
    chosen: list[Item] = []
    while len(chosen) < size and any(piles.values()):
        for category in order:
            if piles[category] and len(chosen) < size:
                chosen.append(piles[category].pop())
    return tuple(chosen)


def answers_correctly(text: str, answers: Iterable[str]) -> bool:
    """Whether one of `answers` stands in `text` as whole words, whatever its case.

    An answer of one letter counts only in the case given: `a` is a word, `A` may be a grade.
    """
    for answer in answers:
        flags = 0 if len(answer) == 1 else re.IGNORECASE
        if re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text, flags):
            return True
    return False


def _item(row: dict[str, Any]) -> Item:
    return Item(row["id"], row["text"], row["category"])


def packaged_rows(package: str, path: str) -> Iterable[dict[str, Any]]:
    """The JSON objects of a packaged file, one a line.

    Raises NotFound: the file is not installed. Raises Invalid: a line is not JSON.
    """
    place = resources.files(package).joinpath(*path.split("/"))
    try:
        lines = place.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise NotFound(f"{path} is not installed", code="evaluation_data_missing") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise Invalid(f"{path}, line {number}: not JSON", code="bad_evaluation") from error
        if isinstance(row, dict):
            yield row
