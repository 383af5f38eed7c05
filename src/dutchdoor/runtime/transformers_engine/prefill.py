"""Prompts, each run alone: what the judge must see before the first token, and the cache after."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from dutchdoor.runtime.protocol import Generate, Token
from dutchdoor.runtime.transformers_engine.loading import LoadedModel
from dutchdoor.runtime.transformers_engine.row import prompt_token
from dutchdoor.runtime.transformers_engine.taps import Taps

__all__ = ["Prefilled", "prefill", "read_hidden"]

_CHUNK_TOKENS = 256


@dataclass
class Prefilled:
    """A prompt that ran. logits: [vocabulary] after its last token. hidden: [tokens, h] a layer.

    echoed: the prompt's tokens, where they are asked for.
    """

    cache: Any
    logits: torch.Tensor
    hidden: dict[int, torch.Tensor]
    echoed: list[Token]


def prefill(
    loaded: LoadedModel,
    taps: Taps,
    work: Generate,
    token_ids: list[int],
    *,
    layers: Iterable[int],
    go_on: Callable[[], bool],
) -> Prefilled | None:
    """Runs a prompt in chunks; None where `go_on`, asked before each chunk, says no.

    layers: whose residual streams are kept.
    """
    cache, echoed = DynamicCache(), []
    is_scored = work.echo and work.logprobs >= 0
    parts: dict[int, list[torch.Tensor]] = {layer: [] for layer in layers}
    last: torch.Tensor | None = None
    for start in range(0, len(token_ids), _CHUNK_TOKENS):
        if not go_on():
            return None
        chunk = token_ids[start : start + _CHUNK_TOKENS]
        with taps.take(parts) as taken:
            output = loaded.model(
                input_ids=torch.tensor([chunk]),
                position_ids=torch.arange(start, start + len(chunk))[None],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=0 if is_scored else 1,
            )
        for layer, hidden in taken.items():
            parts[layer].append(hidden[0])
        logits = output.logits[0]
        if work.echo:
            for place, token_id in enumerate(chunk):
                before = (logits[place - 1] if place else last) if is_scored else None
                echoed.append(prompt_token(work, loaded, token_id, before))
        last = logits[-1].clone()
    assert last is not None, "an empty prompt was refused"
    hidden_of = {layer: torch.cat(pieces) for layer, pieces in parts.items()}
    return Prefilled(cache, last, hidden_of, echoed)


def read_hidden(
    loaded: LoadedModel,
    taps: Taps,
    token_ids: list[int],
    layers: Iterable[int],
    *,
    go_on: Callable[[], bool],
) -> dict[int, torch.Tensor] | None:
    """[tokens, h] of each layer; the blocks above the last of them do not run.

    None where `go_on`, asked before each chunk, says no.
    """
    cache = DynamicCache()
    parts: dict[int, list[torch.Tensor]] = {layer: [] for layer in layers}
    for start in range(0, len(token_ids), _CHUNK_TOKENS):
        if not go_on():
            return None
        chunk = token_ids[start : start + _CHUNK_TOKENS]
        with taps.take(parts, stop_early=True) as taken:
            loaded.model.get_decoder()(
                input_ids=torch.tensor([chunk]),
                position_ids=torch.arange(start, start + len(chunk))[None],
                past_key_values=cache,
                use_cache=True,
            )
        for layer, hidden in taken.items():
            parts[layer].append(hidden[0])
    return {layer: torch.cat(pieces) for layer, pieces in parts.items()}
