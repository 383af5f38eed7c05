"""Seeded draws: what a caller may repeat, and what a seed must not tell about the logits."""

from __future__ import annotations

import torch

from dutchdoor.runtime.protocol import Generate
from dutchdoor.runtime.transformers_engine.sampling import Sampler

KEY = b"k" * 32
FLAT = torch.zeros(4096)


def drawn(request: Generate, key: bytes = KEY, count: int = 8) -> list[int]:
    sampler = Sampler(request, key)
    return [sampler.next(FLAT).token_id for _ in range(count)]


def ask(name: str = "a", tokens_max: int = 8, **changes: object) -> Generate:
    fields: dict[str, object] = {"text": "hello", "seed": 7, **changes}
    return Generate(name, tokens_max, **fields)  # type: ignore[arg-type]


def test_a_caller_who_knows_the_seed_does_not_know_the_noise() -> None:
    """With flat logits the token drawn is the noise's own choice: the attacker draws it too."""
    generator = torch.Generator().manual_seed(7)
    guessed = [
        int((FLAT.softmax(-1) / torch.empty_like(FLAT).exponential_(generator=generator)).argmax())
        for _ in range(8)
    ]
    assert drawn(ask()) != guessed
    assert drawn(ask()) != drawn(ask(), key=b"j" * 32), "another model's noise is another"


def test_two_prompts_or_settings_never_share_their_noise() -> None:
    """Shared noise would cancel out between prompts, and leave ratios of logits."""
    first = drawn(ask())
    for other in (
        ask(text="hello "),
        ask(temperature=0.99),
        ask(top_p=0.999),
        ask(frequency_penalty=0.001),
        ask(presence_penalty=0.001),
        ask(logit_bias={1: 0.001}),
        ask(seed=8),
    ):
        assert drawn(other) != first


def test_a_seed_repeats_the_same_request_and_a_longer_one_begins_alike() -> None:
    assert drawn(ask("a")) == drawn(ask("b", tokens_max=64), count=64)[:8]
