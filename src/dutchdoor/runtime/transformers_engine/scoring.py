"""How a model would open its answer: probabilities of openings, read from logits, never sampled.

Openings share beginnings ("I am …"), so they form a tree that is appended to each prompt once; a
mask lets every branch see the prompt and its own beginning alone. What all prompts begin with (the
chat template, examples shown) is run once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import DynamicCache

from dutchdoor.runtime.transformers_engine.loading import LoadedModel

__all__ = ["Chances", "Openings", "SharedStart", "last_states", "likelihoods", "score"]

SLICE_TOKENS = 512
"""Tokens that are run before the engine turns to whoever waits for a token."""


class Chances(NamedTuple):
    """How likely one answer opens as a refusal, and as an answer, in [0, 1]."""

    refusal: float
    answer: float


class _End(NamedTuple):
    node: int
    token_id: int
    is_refusal: bool


@dataclass(frozen=True)
class Openings:
    """The tree. tokens, parents: of its inner nodes, -1 is the end of the prompt."""

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    ends: tuple[_End, ...]

    @classmethod
    def of(cls, refusals: Sequence[list[int]], answers: Sequence[list[int]]) -> Openings:
        """The tree of token sequences; a longer opening under a shorter one is part of it.

        Where an opening is on both sides it counts as a refusal.
        """
        tokens: list[int] = []
        parents: list[int] = []
        depths: list[int] = []
        nodes: dict[tuple[int, ...], int] = {(): -1}
        ends: dict[tuple[int, ...], _End] = {}
        marked = [(tuple(ids), True) for ids in refusals] + [(tuple(ids), False) for ids in answers]
        for ids, is_refusal in sorted(marked, key=lambda row: (len(row[0]), not row[1])):
            if not ids or any(ids[:size] in ends for size in range(1, len(ids) + 1)):
                continue
            for size in range(1, len(ids)):
                if ids[:size] not in nodes:
                    nodes[ids[:size]] = len(tokens)
                    tokens.append(ids[size - 1])
                    parents.append(nodes[ids[: size - 1]])
                    depths.append(size)
            ends[ids] = _End(nodes[ids[:-1]], ids[-1], is_refusal)
        return cls(tuple(tokens), tuple(parents), tuple(depths), tuple(ends.values()))

    def chances(self, logits: torch.Tensor) -> Chances:
        """logits: [1 + nodes, vocabulary], of the prompt's last token and each inner node."""
        logs = torch.log_softmax(logits.float(), dim=-1)
        reached = [0.0]
        for token_id, parent in zip(self.tokens, self.parents, strict=True):
            reached.append(reached[parent + 1] + float(logs[parent + 1, token_id]))
        sums = [0.0, 0.0]
        for end in self.ends:
            value = reached[end.node + 1] + float(logs[end.node + 1, end.token_id])
            sums[not end.is_refusal] += float(torch.tensor(value).exp())
        return Chances(min(1.0, sums[0]), min(1.0, sums[1]))


class SharedStart:
    """What several prompts begin with, run once on one model."""

    def __init__(self, model: Any, token_ids: list[int]) -> None:
        self.token_ids = token_ids
        self._cache = DynamicCache()
        if token_ids:
            model.get_decoder()(
                input_ids=torch.tensor([token_ids]), past_key_values=self._cache, use_cache=True
            )

    def copies(self, rows: int) -> Any:
        """The cache as `rows` rows see it; the original does not change."""
        copies = DynamicCache()
        for index, layer in enumerate(self._cache.layers):
            if layer.is_initialized:
                keys, values = (t.expand(rows, -1, -1, -1) for t in (layer.keys, layer.values))
                copies.update(keys, values, index)
        return copies


def score(
    model: Any, loaded: LoadedModel, prompts: Sequence[list[int]], openings: Openings
) -> Generator[None, None, list[Chances]]:
    """The chances of each prompt, in slices. model: of the kind of `loaded.model`."""
    found: dict[int, Chances] = {}

    def take(places: list[int], output: Any) -> None:
        for row, place in enumerate(places):
            found[place] = openings.chances(output.logits[row])

    yield from _run(model, loaded, prompts, openings, take)
    return [found[place] for place in range(len(prompts))]


def last_states(
    model: Any, loaded: LoadedModel, prompts: Sequence[list[int]], layer: Any
) -> Generator[None, None, torch.Tensor]:
    """float32 [prompts, h]: the residual stream after `layer` at each prompt's last token."""
    found: dict[int, torch.Tensor] = {}
    seen: list[torch.Tensor] = []

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        seen.append((output[0] if isinstance(output, tuple) else output)[:, -1].float())

    def take(places: list[int], _output: Any) -> None:
        found.update(zip(places, seen[-1], strict=True))

    hook = layer.register_forward_hook(keep)
    try:
        yield from _run(model, loaded, prompts, Openings.of([], []), take)
    finally:
        hook.remove()
    return torch.stack([found[place] for place in range(len(prompts))])


def likelihoods(
    model: Any, before: list[int], rows: Sequence[list[int]]
) -> Generator[None, None, list[float]]:
    """The natural-log probability of each of `rows` (tokens) after `before`, in slices."""
    shared = SharedStart(model, before[:-1])
    yield
    found: list[float] = []
    size = max(1, SLICE_TOKENS // max(len(row) for row in rows))
    for first in range(0, len(rows), size):
        some = rows[first : first + size]
        longest = max(len(row) for row in some)
        # Padded on the right: whatever stands there comes too late to be seen.
        ids = torch.zeros((len(some), longest), dtype=torch.long)
        for place, row in enumerate(some):
            ids[place, : len(row)] = torch.tensor([before[-1], *row[:-1]])
        output = model(input_ids=ids, past_key_values=shared.copies(len(some)), use_cache=True)
        logs = torch.log_softmax(output.logits.float(), dim=-1)
        for place, row in enumerate(some):
            chosen = logs[place, torch.arange(len(row)), torch.tensor(row)]
            found.append(float(chosen.sum()))
        yield
    return found


def _run(
    model: Any,
    loaded: LoadedModel,
    prompts: Sequence[list[int]],
    openings: Openings,
    take: Callable[[list[int], Any], None],
) -> Generator[None, None, None]:
    size = _shared_length(prompts)
    shared = SharedStart(model, prompts[0][:size])
    yield
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    while order:
        longest = len(prompts[order[-1]]) - size + len(openings.tokens)
        count = max(1, SLICE_TOKENS // longest)
        places = order[-count:]
        del order[-count:]
        take(places, _forward(model, loaded, shared, [prompts[n][size:] for n in places], openings))
        yield


def _forward(
    model: Any, loaded: LoadedModel, shared: SharedStart, rows: list[list[int]], openings: Openings
) -> Any:
    """One pass over `rows`, padded on the left so that all trees stand at the same places."""
    before, nodes = len(shared.token_ids), len(openings.tokens)
    longest = max(len(row) for row in rows)
    width = longest + nodes
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    positions = torch.zeros((len(rows), width), dtype=torch.long)
    sees = torch.zeros((len(rows), 1, width, before + width), dtype=torch.bool)
    sees[..., :before] = True
    for place, row in enumerate(rows):
        start = longest - len(row)
        ids[place] = torch.tensor([0] * start + row + list(openings.tokens))
        positions[place, start:longest] = torch.arange(before, before + len(row))
        triangle = torch.ones((len(row), len(row)), dtype=torch.bool).tril()
        sees[place, 0, start:longest, before + start : before + longest] = triangle
        for node, (parent, depth) in enumerate(zip(openings.parents, openings.depths, strict=True)):
            here = longest + node
            positions[place, here] = before + len(row) + depth - 1
            # A branch sees what its parent sees, and itself.
            above = longest - 1 if parent < 0 else longest + parent
            sees[place, 0, here] = sees[place, 0, above]
            sees[place, 0, here, before + here] = True
        # Padding must see something, or its softmax is no number; nobody looks at it.
        for pad in range(start):
            sees[place, 0, pad, before + pad] = True
    mask = torch.zeros(sees.shape, dtype=loaded.dtype)
    mask.masked_fill_(~sees, torch.finfo(loaded.dtype).min)
    return model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=shared.copies(len(rows)),
        use_cache=True,
        logits_to_keep=nodes + 1,
    )


def _shared_length(prompts: Sequence[list[int]]) -> int:
    """How many tokens all prompts begin with; at least one of each is left."""
    first, last = min(prompts), max(prompts)
    most = min(len(ids) for ids in prompts) - 1
    same = 0
    while same < most and first[same] == last[same]:
        same += 1
    return same
