"""The next token of one request: penalties, biases, temperature, nucleus, and its log-probability.

Log-probabilities are those of the model itself, before any of that, so that they say the same
whatever the request asked for.

A seed repeats one request and nothing else. Its noise is made from the seed, the whole request and
a secret of the loaded model: if callers knew the noise, each seed would be a known bias on all
tokens at once, and text alone would read out logits; if two prompts shared it, it would cancel out.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import Counter
from typing import Any, NamedTuple

import msgspec
import torch

from dutchdoor.runtime.protocol import Generate

__all__ = ["Sampled", "Sampler", "noise_key_of", "score"]

_SEED_BITS = 63


class Sampled(NamedTuple):
    """A token. logprob: its natural logarithm, and top: (token id, logprob), where asked."""

    token_id: int
    logprob: float | None
    top: list[tuple[int, float]]


class Sampler:
    """Draws the tokens of one request, from a random source of its own."""

    def __init__(self, request: Generate, noise_key: bytes) -> None:
        """noise_key: the loaded model's; nobody who may ask knows it."""
        self._request = request
        self._generator = torch.Generator()
        self._generator.manual_seed(_noise_seed(request, noise_key))
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


def noise_key_of(model: Any) -> bytes:
    """32 bytes that seeded noise is made with, and that only whoever holds the last layer can know.

    It follows from the weights, every 16th row of them, so that a seed repeats after a restart.
    """
    rows = model.get_output_embeddings().weight.detach()[::16].float().contiguous()
    return hashlib.sha256(b"dutchdoor seeded noise\n" + rows.numpy().tobytes()).digest()


def _noise_seed(request: Generate, noise_key: bytes) -> int:
    if request.seed is None:
        return secrets.randbits(_SEED_BITS)
    # What changes neither a token's chances nor its place is left out, so that a longer answer
    # begins as the shorter one did.
    told = msgspec.msgpack.encode(
        [
            request.seed,
            request.chat,
            request.text,
            request.token_ids,
            request.temperature,
            request.top_p,
            request.frequency_penalty,
            request.presence_penalty,
            sorted(request.logit_bias.items()),
        ]
    )
    digest = hmac.digest(noise_key, told, hashlib.sha256)
    return int.from_bytes(digest[:8], "big") >> (64 - _SEED_BITS)


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
