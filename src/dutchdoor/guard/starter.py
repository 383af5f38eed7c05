"""The packaged starter set: prompts to fit a probe on before there is traffic of one's own.

`starter/DATA_CARD.md` is its data card: who wrote it, for what, and what it lacks.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from importlib import resources
from typing import Any

from dutchdoor import canonical
from dutchdoor.errors import Invalid

__all__ = ["StarterPrompt", "starter_digest", "starter_set"]

_FILES = ("harmful.jsonl", "benign.jsonl")


@dataclass(frozen=True)
class StarterPrompt:
    """One prompt. label: 1 harmful request, 0 benign. category: a hazard, or a benign topic."""

    id: str
    text: str
    label: int
    category: str
    style: str
    source: str


def starter_set(limit: int | None = None, seed: int = 0) -> tuple[StarterPrompt, ...]:
    """The starter set, or `limit` prompts of it: a third harmful as far as they last, all sources.

    A third, because breadth of the benign matters more to a probe than balance. limit: at least 3;
    1,000 are nearly as good as all. The same for the same seed; harmful ones first.
    Raises Invalid: the limit is too small, or the packaged files are broken.
    """
    prompts = _read()
    if limit is None:
        return prompts
    if limit < 3:
        raise Invalid("a subsample has at least 3 prompts", code="bad_limit")
    harmful = [prompt for prompt in prompts if prompt.label == 1]
    benign = [prompt for prompt in prompts if prompt.label == 0]
    count = min(limit // 3, len(harmful))
    return (*_spread(harmful, count, seed), *_spread(benign, limit - count, seed))


def starter_digest() -> str:
    """The digest of the whole starter set."""
    return canonical.digest([list(vars(prompt).values()) for prompt in _read()])


def _spread(prompts: list[StarterPrompt], count: int, seed: int) -> list[StarterPrompt]:
    """`count` prompts, taken from all sources in turn so that small ones are not lost."""
    generator = random.Random(seed)  # noqa: S311  # a sample, no secret
    queues: dict[str, list[StarterPrompt]] = {}
    for prompt in prompts:
        queues.setdefault(prompt.source, []).append(prompt)
    for name in sorted(queues):
        generator.shuffle(queues[name])
    # Each prompt's place in its source as a share of it: sources keep their proportions.
    ranked = [
        ((place + 0.5) / len(queue), name, place)
        for name, queue in queues.items()
        for place in range(len(queue))
    ]
    return [queues[name][place] for _, name, place in sorted(ranked)[:count]]


def _read() -> tuple[StarterPrompt, ...]:
    folder = resources.files("dutchdoor.guard").joinpath("starter")
    lines = [
        line
        for name in _FILES
        for line in folder.joinpath(name).read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    return tuple(_prompt(json.loads(line)) for line in lines)


def _prompt(row: Any) -> StarterPrompt:
    try:
        return StarterPrompt(**row)
    except TypeError as error:
        raise Invalid("the packaged starter set is broken", code="bad_starter") from error
