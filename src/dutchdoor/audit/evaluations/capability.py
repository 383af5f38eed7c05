"""Items of the capability evaluations: made by seed, or read from this folder."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from dutchdoor.audit.items import Item, choose, packaged_rows

__all__ = ["arithmetic", "code", "follows", "instructions", "paraphrases", "reading"]


def arithmetic(size: int, seed: int) -> tuple[Item, ...]:
    """Sums, differences, products and two-step word problems with whole-number answers."""
    random_ = random.Random(seed)  # noqa: S311 - a sample to repeat, not a secret
    items = []
    for number in range(size):
        kind, text, answer = _PROBLEMS[number % len(_PROBLEMS)](random_)
        items.append(Item(f"arithmetic-{number:03d}", text, kind, (str(answer),)))
    return tuple(items)


def _sum(random_: random.Random) -> tuple[str, str, int]:
    a, b = random_.randint(11, 99), random_.randint(11, 99)
    return "sum", f"What is {a} + {b}? Answer with the number only.", a + b


def _difference(random_: random.Random) -> tuple[str, str, int]:
    a, b = random_.randint(50, 99), random_.randint(11, 49)
    return "difference", f"What is {a} - {b}? Answer with the number only.", a - b


def _product(random_: random.Random) -> tuple[str, str, int]:
    a, b = random_.randint(3, 12), random_.randint(3, 12)
    return "product", f"What is {a} times {b}? Answer with the number only.", a * b


def _story(random_: random.Random) -> tuple[str, str, int]:
    boxes, each, gone = random_.randint(3, 9), random_.randint(4, 9), random_.randint(2, 8)
    text = (
        f"A shop has {boxes} boxes with {each} apples each. It sells {gone} apples. "
        "How many apples are left? Answer with the number only."
    )
    return "story", text, boxes * each - gone


_PROBLEMS = (_sum, _difference, _product, _story)


class _Constraint(NamedTuple):
    """A demand that a program can check. holds: whether `text` meets it for `value`."""

    kind: str
    text: str
    values: tuple[str, ...]
    holds: Callable[[str, str], bool]


def _words(text: str) -> list[str]:
    return [word for word in text.split() if any(letter.isalnum() for letter in word)]


_CONSTRAINTS = (
    _Constraint(
        "word",
        "Use the word '{}' in your answer.",
        ("harbour", "yellow", "seven", "window"),
        lambda text, value: value in text.casefold(),
    ),
    _Constraint(
        "start",
        "Begin your answer with the word '{}'.",
        ("Today", "Indeed", "Once", "Perhaps"),
        lambda text, value: text.strip().strip("\"'*").startswith(value),
    ),
    _Constraint(
        "end",
        "End your answer with the exact words '{}'",
        ("That is all.", "The end.", "Good night."),
        lambda text, value: text.strip().strip("\"'*").endswith(value),
    ),
    _Constraint(
        "lower",
        "Write everything in lower case letters{}.",
        ("",),
        lambda text, _: bool(text.strip()) and text == text.lower(),
    ),
    _Constraint(
        "upper",
        "Write everything in capital letters{}.",
        ("",),
        lambda text, _: bool(text.strip()) and text == text.upper(),
    ),
    _Constraint(
        "commas",
        "Do not use any comma{}.",
        ("",),
        lambda text, _: bool(text.strip()) and "," not in text,
    ),
    _Constraint(
        "short",
        "Answer in at most {} words.",
        ("5", "8", "12"),
        lambda text, value: 0 < len(_words(text)) <= int(value),
    ),
    _Constraint(
        "bullets",
        "Answer with exactly {} lines that each begin with '- '.",
        ("2", "3"),
        lambda text, value: (
            [line.startswith("- ") for line in text.strip().splitlines() if line.strip()]
            == [True] * int(value)
        ),
    ),
)
_SUBJECTS = (
    "Describe a rainy day.",
    "Name a fruit and say what it tastes like.",
    "Tell me about the sea.",
    "Describe a cat.",
    "What is a library?",
    "Describe bread.",
    "What is a bicycle for?",
    "Tell me about the moon.",
)


def instructions(size: int, seed: int) -> tuple[Item, ...]:
    """Small writing tasks with one demand each that a program checks."""
    random_ = random.Random(seed)  # noqa: S311 - a sample to repeat, not a secret
    pairs = [(subject, place) for subject in _SUBJECTS for place in range(len(_CONSTRAINTS))]
    items: list[Item] = []
    for subject, place in pairs:
        constraint = _CONSTRAINTS[place]
        value = random_.choice(constraint.values)
        text = f"{subject} {constraint.text.format(value)}"
        name = f"instruction-{len(items):03d}"
        items.append(Item(name, text, constraint.kind, extra={"value": value}))
    return choose(items, size, seed)


def follows(item: Item, text: str) -> bool:
    """Whether `text`, an answer, meets the demand of an item of `instructions`."""
    constraint = next(row for row in _CONSTRAINTS if row.kind == item.category)
    return constraint.holds(text, item.extra["value"])


def reading(size: int, seed: int) -> tuple[Item, ...]:
    """Short passages written for this project, each with a question that it answers."""
    items = [
        Item(
            row["id"],
            f"Read this:\n\n{row['passage']}\n\nQuestion: {row['question']} Answer briefly.",
            row["kind"],
            tuple(row["answers"]),
        )
        for row in packaged_rows("dutchdoor.audit", "evaluations/reading.jsonl")
    ]
    return choose(items, size, seed)


def code(size: int, seed: int) -> tuple[Item, ...]:
    """Short Python programs, made by seed; the answer is what they print."""
    random_ = random.Random(seed)  # noqa: S311 - a sample to repeat, not a secret
    items = []
    for number in range(size):
        kind, program, printed = _PROGRAMS[number % len(_PROGRAMS)](random_)
        text = f"What does this Python program print? Answer with the output only.\n\n{program}"
        items.append(Item(f"code-{number:03d}", text, kind, (printed,)))
    return tuple(items)


def _loop(random_: random.Random) -> tuple[str, str, str]:
    n, step = random_.randint(3, 6), random_.randint(2, 5)
    program = f"total = 0\nfor i in range({n}):\n    total = total + {step}\nprint(total)"
    return "loop", program, str(n * step)


def _text(random_: random.Random) -> tuple[str, str, str]:
    word = random_.choice(("river", "stone", "lemon", "cloud", "paper"))
    return "text", f'word = "{word}"\nprint(word.upper())', word.upper()


def _list(random_: random.Random) -> tuple[str, str, str]:
    numbers = random_.sample(range(1, 20), 4)
    place = random_.randint(0, 3)
    return "list", f"numbers = {numbers}\nprint(numbers[{place}])", str(numbers[place])


def _branch(random_: random.Random) -> tuple[str, str, str]:
    a, b = random_.sample(range(1, 30), 2)
    program = f'a = {a}\nb = {b}\nif a > b:\n    print("left")\nelse:\n    print("right")'
    return "branch", program, "left" if a > b else "right"


def _length(random_: random.Random) -> tuple[str, str, str]:
    numbers = [random_.randint(1, 9) for _ in range(random_.randint(3, 7))]
    return "length", f"numbers = {numbers}\nprint(len(numbers))", str(len(numbers))


_PROGRAMS = (_loop, _text, _list, _branch, _length)


def paraphrases(size: int, seed: int) -> tuple[Item, ...]:
    """Questions in three wordings each; `group` ties the wordings together. size: wordings."""
    rows = list(packaged_rows("dutchdoor.audit", "evaluations/paraphrases.jsonl"))
    heads = choose(
        [Item(row["id"], row["id"], row["kind"]) for row in rows], max(1, size // 3), seed
    )
    wanted = {item.id for item in heads}
    return tuple(
        Item(f"{row['id']}-{place}", wording, row["kind"], tuple(row["answers"]), group=row["id"])
        for row in rows
        if row["id"] in wanted
        for place, wording in enumerate(row["wordings"])
    )
