"""The attacks that give weights away, run against the running server by people who hold its keys.

They ask what any caller may ask, keep what they are given, and put it together: rows of
log-probabilities for the last layer (singular values), hidden vectors beside them for least
squares. What the server says it counted is read from its own receipts and held against what was
given. What is spent here is spent for ever, so that a bound is set on it.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from dutchdoor.access.attacks import (
    Matrix,
    centred,
    last_layer,
    shared_columns,
    span_error,
    unseen_error,
)
from dutchdoor.access.extraction import vectors_worth
from dutchdoor.app.selftest_routes import ROUTES, numbers_in
from dutchdoor.audit.evaluations.door import Door, Reply
from dutchdoor.errors import Unavailable

__all__ = [
    "Haul",
    "Outcome",
    "RouteFound",
    "Selftest",
    "control",
    "error_at_least",
    "gather",
    "last_tap",
    "outcome_of",
]

ERROR_MIN = 0.8
"""What the error of the last layer must stay above: a quarter of h leaves 0.84."""
LAYERS_MAX = 4096
WORDS = ("harbour", "ink", "snow", "algebra", "choir", "paper", "river", "lamp", "orange", "bread")
"""Few and mixed: attacks need many different contexts, not many words."""


class RouteFound(NamedTuple):
    """One route, tried. given, counted: in single numbers, a vector being h of them."""

    name: str
    answer: str
    given: int
    counted: int

    @property
    def holds(self) -> bool:
        return self.counted >= self.given


@dataclass
class Haul:
    """What people have put together. rows: of log-probabilities, by token. states: [n, h] beside
    them. counted: what the server says it gave, in whole vectors."""

    hidden_size: int
    rows: list[dict[str, float]] = field(default_factory=list)
    states: list[Matrix] = field(default_factory=list)
    vectors: int = 0
    numbers: int = 0
    refused: list[str] = field(default_factory=list)

    @property
    def counted(self) -> int:
        return vectors_worth(self.vectors, self.numbers, self.hidden_size)

    def take(self, reply: Reply) -> bool:
        """Keep what an answer's receipt says was counted; False where it is a refusal."""
        if reply.status != 200:
            self.refused.append(reply.code or str(reply.status))
            return False
        vectors, numbers = counted_in(reply.body)
        self.vectors += vectors
        self.numbers += numbers
        return True


class Outcome(NamedTuple):
    """What an attack knows in the end. hidden: h, where it could be read. error: of the last layer,
    at least. unseen: of a least-squares map on rows it has not seen; 1.0 where nothing is known."""

    people: int
    rows: int
    counted: int
    hidden: int | None
    error: float
    unseen: float
    refused: tuple[str, ...]


def control(hidden_size: int = 128, vocabulary: int = 512) -> Outcome:
    """The same attack on a random layer of our own with nobody counting: shows that it works."""
    random = np.random.default_rng(0)
    weights = random.normal(size=(vocabulary, hidden_size))
    states = random.normal(size=(hidden_size * 5 // 3, hidden_size))
    rows = states @ weights.T
    span = last_layer(rows)
    error = span_error(weights, span.basis)
    unseen = unseen_error(states, centred(rows))
    return Outcome(1, len(rows), 0, span.hidden, error, unseen, ())


def error_at_least(rank: int, hidden_size: int) -> float:
    """The relative error of a layer of which `rank` of h directions are known."""
    return math.sqrt(max(0.0, 1.0 - rank / hidden_size))


def counted_in(body: dict[str, Any]) -> tuple[int, int]:
    """Vectors and single numbers that an answer's own receipts say were given away.

    Raises Unavailable: the answer bears no receipt, so that nothing can be held against it.
    """
    own = body.get("dutchdoor") or {}
    vectors = numbers = 0
    for part in own.get("choices") or [own]:
        try:
            entry = base64.b64decode(part["receipt"]["done"]["entry"])
            counts = json.loads(entry)["body"]["counts"]
            vectors += int(counts["vectors"])
            numbers += int(counts["numbers"])
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            message = "an answer without a receipt that says what was counted"
            raise Unavailable(message, code="bad_answer") from error
    return vectors, numbers


class Selftest:
    """The attacks of people who hold `doors`, on a model that is `hidden_size` wide.

    spend_max: whole vectors that may be spent, over everything. tap: of the last layer, "" for
    none. width: log-probabilities asked for at each position.
    """

    def __init__(
        self, doors: Sequence[Door], hidden_size: int, *, spend_max: int, tap: str, width: int = 20
    ) -> None:
        self._doors = list(doors)
        self._hidden_size = hidden_size
        self._left = spend_max
        self._tap = tap
        self._width = width

    def routes(self, hear: Callable[[RouteFound], None]) -> list[RouteFound]:
        """Every route and combination once, through the first key."""
        found = []
        for name, path, body in ROUTES:
            if self._tap and "taps" in body:
                body = {**body, "taps": [self._tap]}
            reply = self._doors[0].post(path, body)
            counted = (0, 0)
            if reply.status == 200:
                counted = counted_in(reply.body)
            answer = "given" if reply.status == 200 else f"refused: {reply.code or reply.status}"
            vectors, numbers = counted
            row = RouteFound(
                name,
                answer,
                numbers_in(reply.body, body) if reply.status == 200 else 0,
                vectors * self._hidden_size + numbers,
            )
            self._left -= vectors_worth(vectors, numbers, self._hidden_size)
            found.append(row)
            hear(row)
        return found

    def attack(self, people: int) -> Outcome:
        """The two attacks by the first `people` of them together."""
        haul = gather(
            self._doors[:people],
            self._hidden_size,
            spend_max=max(0, self._left),
            tap=self._tap,
            width=self._width,
        )
        self._left -= haul.counted
        return outcome_of(haul, people)


def last_tap(door: Door) -> str:
    """The name of the tap after the last block; "" where hidden vectors are not given.

    Asks for more positions than the prompt has, which costs nothing: known taps are told from
    unknown ones by the refusal.
    """

    def is_there(layer: int) -> bool:
        body = {"prompt": "a", "taps": [_tap(layer)], "positions": 4096}
        return door.post("/dutchdoor/activations", body).code == "bad_positions"

    if not is_there(0):
        return ""
    low, high = 0, 1
    while high < LAYERS_MAX and is_there(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_there(middle) else (low, middle)
    return _tap(low)


def _tap(layer: int) -> str:
    return f"blocks.{layer}.hook_resid_post"


def outcome_of(haul: Haul, people: int) -> Outcome:
    """What a haul is worth, without the truth at hand: the error is the least that it can be."""
    _, rows = shared_columns(haul.rows)
    span = last_layer(rows)
    states = np.concatenate(haul.states) if haul.states else np.zeros((0, haul.hidden_size))
    known = span.basis.shape[1] if rows.shape[1] > haul.hidden_size else 0
    if len(states):
        known = max(known, int(np.linalg.matrix_rank(states)))
    unseen = 1.0
    if len(states) == len(rows) and rows.shape[1] > 1:
        unseen = unseen_error(normalised(states), centred(rows))
    return Outcome(
        people,
        len(haul.rows),
        haul.counted,
        span.hidden,
        error_at_least(min(known, haul.hidden_size), haul.hidden_size),
        unseen,
        tuple(sorted(set(haul.refused))),
    )


def normalised(states: Matrix) -> Matrix:
    """`states` as they come out of the last norm, but for its weights, which scale W's columns."""
    return np.asarray(states / np.sqrt((states**2).mean(axis=1, keepdims=True)))


def gather(
    doors: Sequence[Door],
    hidden_size: int,
    *,
    spend_max: int,
    tap: str = "",
    width: int = 20,
    rows_max: int = 1 << 20,
    words: int = 12,
) -> Haul:
    """What people get who ask in turns, until all are refused, or the bound is reached.

    tap: read the hidden vectors of the same positions too. words: of each prompt.
    """
    haul = Haul(hidden_size)
    asking = list(doors)
    # A first guess of what a prompt costs; what it cost really is known after the first answer.
    price = 1
    for prompt in prompts(words):
        if not asking or len(haul.rows) >= rows_max or haul.counted + price > spend_max:
            break
        before = haul.counted
        door = asking.pop(0)
        if _ask(door, haul, prompt, tap=tap, width=width):
            asking.append(door)
        price = max(price, haul.counted - before)
    return haul


def _ask(door: Door, haul: Haul, prompt: str, *, tap: str, width: int) -> bool:
    body = {"prompt": prompt, "max_tokens": 0, "echo": True, "logprobs": width, "temperature": 0.0}
    reply = door.post("/completions", body)
    if not haul.take(reply):
        return False
    tops = reply.body["choices"][0]["logprobs"]["top_logprobs"]
    rows = [row for row in tops if row]
    if not tap:
        haul.rows.extend(rows)
        return True
    read = {"prompt": prompt, "taps": [tap], "positions": len(rows) + 1}
    reply = door.post("/dutchdoor/activations", read)
    if not haul.take(reply):
        haul.rows.extend(rows)
        return False
    data = np.frombuffer(base64.b64decode(reply.body["data"]), dtype="<f4")
    # The row at a token was made from the state of the one before it.
    states = data.reshape(reply.body["shape"]).astype(np.float64)[0][:-1]
    if len(haul.rows) == sum(map(len, haul.states)):
        haul.states.append(states)
    haul.rows.extend(rows)
    return True


def prompts(words: int) -> Iterator[str]:
    """Prompts without end, no two alike."""
    for number in itertools.count():
        step = 1 + number % (len(WORDS) - 1)
        picked = [WORDS[(number + place * step) % len(WORDS)] for place in range(words)]
        yield f"{number} " + " ".join(picked)
