"""Canaries planted by tuning a copy, and how well it can tell them from secrets it never saw.

Each canary is ranked by its probability among random secrets of its form. The exposure is the
logarithm of all over the rank: 1.44 bits on average for a secret that was never seen.
Source: Carlini et al. 2019, The Secret Sharer (arXiv 1802.08232), sections 4.1 and 4.2.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Sequence
from typing import Any

from dutchdoor.runtime.checks import CANARY_ALPHABETS
from dutchdoor.runtime.protocol import Canary
from dutchdoor.runtime.transformers_engine.scoring import likelihoods
from dutchdoor.runtime.transformers_engine.text import TextSide
from dutchdoor.runtime.transformers_engine.tuning import ROWS_A_STEP, Row, Tuning

__all__ = ["exposures", "plant"]


def plant(
    model: Any,
    text: TextSide,
    canaries: Sequence[Canary],
    among: Sequence[Row],
    *,
    seed: int,
    learning_rate: float,
) -> Generator[None, None, Tuning]:
    """Tunes `model` once over all: each canary as often as it says, among other rows."""
    planted = [
        Row(_before(text, row), text.ids(row.secret)) for row in canaries for _ in range(row.times)
    ]
    rows = [*planted, *among]
    # Whole steps in one round, so that no canary is seen more often than it says.
    rows += [among[place % len(among)] for place in range(-len(rows) % ROWS_A_STEP)]
    tuning = Tuning(model, rows, seed=seed, learning_rate=learning_rate)
    for _ in range(len(rows) // ROWS_A_STEP):
        tuning.step()
        yield
    return tuning


def exposures(
    model: Any, text: TextSide, canaries: Sequence[Canary], count: int, *, seed: int
) -> Generator[None, None, list[float]]:
    """The exposure of each canary in bits, in [0, log2(count + 1)], among `count` candidates."""
    found = []
    for row in canaries:
        secrets = [row.secret, *_candidates(row, count, seed)]
        ids = [text.ids(secret) for secret in secrets]
        own, *others = yield from likelihoods(model, _before(text, row), ids)
        rank = 1 + sum(other >= own for other in others)
        found.append(math.log2(len(secrets)) - math.log2(rank))
    return found


def _before(text: TextSide, row: Canary) -> list[int]:
    return text.prompt([], row.form.removesuffix("{}"), None).token_ids


def _candidates(row: Canary, count: int, seed: int) -> list[str]:
    """Other secrets of the same alphabet and size, drawn evenly by seed."""
    drawn = random.Random(f"{seed} {row.form}")  # noqa: S311 - to repeat, not a secret
    letters, found = CANARY_ALPHABETS[row.alphabet], {row.secret: None}
    while len(found) < count + 1:
        found["".join(drawn.choice(letters) for _ in row.secret)] = None
    return list(found)[1:]
