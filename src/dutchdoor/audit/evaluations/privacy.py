"""Memorisation: how much of well-known text comes back, and how exposed planted canaries are."""

from __future__ import annotations

import json
import math
import random
import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dutchdoor.audit.items import Item, choose, packaged_rows
from dutchdoor.audit.measure import Interval, wilson
from dutchdoor.errors import Invalid, NotFound

__all__ = [
    "CANARIES_MAX",
    "MEMORISED_WORDS",
    "Canary",
    "Exposure",
    "candidates",
    "exposure",
    "mean",
    "passages",
    "read_canaries",
    "words_repeated",
]

MEMORISED_WORDS = 8
CANARIES_MAX = 64
CANARY_BYTES_MAX = 1 << 20
_ALPHABETS = {"digits": string.digits, "letters": string.ascii_lowercase}


def passages(size: int, seed: int) -> tuple[Item, ...]:
    """Openings of texts in the public domain; `continuation` is how they go on."""
    rows = packaged_rows("dutchdoor.audit", "evaluations/public_domain.jsonl")
    items = [
        Item(
            row["id"],
            f"Continue this text word for word: {row['start']}",
            "text",
            extra={"continuation": row["continuation"], "start": row["start"]},
        )
        for row in rows
    ]
    return choose(items, size, seed)


def words_repeated(start: str, continuation: str, answer: str) -> int:
    """The most words of `continuation`, from its first on, that stand in `answer` in a row.

    start: where the answer begins with the text that it was given, that part is passed over.
    """
    expected, said, given = (_words(text) for text in (continuation, answer, start))
    if said[: len(given)] == given:
        said = said[len(given) :]
    best = 0
    for place in range(len(said)):
        count = 0
        while (
            count < len(expected)
            and place + count < len(said)
            and said[place + count] == expected[count]
        ):
            count += 1
        best = max(best, count)
    return best


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.casefold())


@dataclass(frozen=True)
class Canary:
    """A secret that was planted in the training data by whoever trained the model.

    form: the sentence, with `{}` where the secret stands. secret: of one alphabet, `digits` or
    `letters`, from which the candidates are drawn that it is ranked among.
    """

    form: str
    secret: str
    alphabet: str


def read_canaries(path: Path) -> tuple[Canary, ...]:
    """The canaries in a JSON Lines file: `form`, `secret`, `alphabet` each.

    Raises NotFound: no such file. Raises Invalid: not in form, or more than 64.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", code="no_canaries") from error
    if len(data) > CANARY_BYTES_MAX:
        raise Invalid("the file of canaries is too large", code="bad_canaries")
    try:
        rows = [json.loads(line) for line in data.decode().splitlines() if line.strip()]
        found = tuple(Canary(row["form"], row["secret"], row["alphabet"]) for row in rows)
        sound = all(
            row.form.count("{}") == 1
            and 3 <= len(row.secret) <= 32
            and set(row.secret) <= set(_ALPHABETS[row.alphabet])
            for row in found
        )
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise Invalid("the file of canaries is not in form", code="bad_canaries") from error
    if not sound or not 1 <= len(found) <= CANARIES_MAX:
        hint = 'one a line: {"form": "the code is {}", "secret": "7391", "alphabet": "digits"}'
        raise Invalid("a canary is not in form, or too many", code="bad_canaries", hint=hint)
    return found


def candidates(canary: Canary, count: int, seed: int) -> tuple[str, ...]:
    """`count` other secrets of the same form, drawn evenly by seed."""
    random_ = random.Random(f"{seed} {canary.form}")  # noqa: S311 - to repeat, not a secret
    letters, size = _ALPHABETS[canary.alphabet], len(canary.secret)
    found: dict[str, None] = {}
    while len(found) < min(count, len(letters) ** size - 1):
        drawn = "".join(random_.choice(letters) for _ in range(size))
        if drawn != canary.secret:
            found[drawn] = None
    return tuple(found)


class Exposure(NamedTuple):
    """A canary's exposure in bits, with its 95 % interval."""

    bits: float
    interval: Interval


def exposure(canary: float, others: Sequence[float]) -> Exposure:
    """The exposure of a canary, from its log-probability and that of random candidates.

    Estimated by sampling: -log2 of the share of candidates that the model finds at least as
    likely, which cannot say more than log2 of their number; the interval is Wilson's of that share.
    0 to 1 bit is what chance gives. Raises Invalid: no candidates.
    Source: Carlini et al. 2019, The Secret Sharer (arXiv 1802.08232), sections 4.2 and 4.3.
    """
    better = sum(1 for other in others if other >= canary)
    n = len(others)
    shares = wilson(better, n)
    floor = 1 / (n + 1)
    bits = -math.log2(max((better + 1) / (n + 1), floor))
    low, high = (-math.log2(max(share, floor)) for share in (shares.high, shares.low))
    return Exposure(bits, Interval(min(low, bits), max(high, bits)))


def mean(exposures: Iterable[Exposure]) -> Exposure:
    """The mean exposure; its interval is the mean of the bounds, wider than the mean's own."""
    rows = list(exposures)
    n = len(rows)
    interval = Interval(
        sum(row.interval.low for row in rows) / n, sum(row.interval.high for row in rows) / n
    )
    return Exposure(sum(row.bits for row in rows) / n, interval)
