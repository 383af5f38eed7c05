"""The next token of one request: penalties, biases, temperature, nucleus, and its log-probability.

Log-probabilities are those of the model itself, before any of that, so that they say the same
whatever the request asked for.
"""

from __future__ import annotations

import secrets
from collections import Counter
from typing import NamedTuple

import torch

from dutchdoor.runtime.protocol import Generate

__all__ = ["Sampled", "Sampler", "score"]

_SEED_BITS = 63


class Sampled(NamedTuple):
    """A token. logprob: its natural logarithm, and top: (token id, logprob), where asked."""

    token_id: int
    logprob: float | None
    top: list[tuple[int, float]]


class Sampler:
    """Draws the tokens of one request, from a random source of its own."""

    def __init__(self, request: Generate) -> None:
        self._request = request
        self._generator = torch.Generator()
        seed = request.seed if request.seed is not None else secrets.randbits(_SEED_BITS)
        self._generator.manual_seed(seed)
        self._counts: Counter[int] = Counter()
        self._bias_ids = torch.tensor(list(request.logit_bias), dtype=torch.long)
        self._biases = torch.tensor(list(request.logit_bias.values()), dtype=torch.float32)

    def next(self, logits: torch.Tensor) -> Sampled:
        """The next token. logits: [vocabulary], any float dtype; not changed."""
        raw = logits.float()
        token_id = self._draw(self._adjust(raw))
        self._counts[token_id] += 1
        if self._request.logprobs < 0:
            return Sampled(token_id, None, [])
        logprob, top = score(raw, token_id, self._request.logprobs)
        return Sampled(token_id, logprob, top)

    def _adjust(self, logits: torch.Tensor) -> torch.Tensor:
        request = self._request
        penalised = (request.frequency_penalty or request.presence_penalty) and self._counts
        if not penalised and not request.logit_bias:
            return logits
        logits = logits.clone()
        if penalised:
            ids = torch.tensor(list(self._counts), dtype=torch.long)
            counts = torch.tensor(list(self._counts.values()), dtype=torch.float32)
            logits[ids] -= counts * request.frequency_penalty + request.presence_penalty
        if request.logit_bias:
            logits[self._bias_ids] += self._biases
        return logits

    def _draw(self, logits: torch.Tensor) -> int:
        if self._request.temperature == 0.0:
            return int(logits.argmax())
        probabilities = torch.softmax(logits / max(self._request.temperature, 1e-5), dim=-1)
        if self._request.top_p < 1.0:
            probabilities = _nucleus(probabilities, self._request.top_p)
        # A race of exponentials, not a walk along the cumulative sum: the result changes only
        # where two tokens nearly tie, so rounding that depends on the batch does not reach it.
        race = torch.empty_like(probabilities).exponential_(generator=self._generator)
        return int((probabilities / race).argmax())


def score(logits: torch.Tensor, token_id: int, count: int) -> tuple[float, list[tuple[int, float]]]:
    """The log-probability of `token_id` and of the `count` likeliest tokens.

    logits: [vocabulary], float32.
    """
    logprobs = torch.log_softmax(logits, dim=-1)
    if count == 0:
        return float(logprobs[token_id]), []
    values, ids = logprobs.topk(count)
    return float(logprobs[token_id]), list(zip(ids.tolist(), values.tolist(), strict=True))


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Zeroes all but the smallest set of likeliest tokens that hold `top_p` together."""
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(dim=-1) - ordered
    kept = torch.zeros_like(probabilities)
    kept[order] = torch.where(before < top_p, ordered, torch.zeros_like(ordered))
    return kept
