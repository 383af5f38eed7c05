"""Copies of a model that share its weights, and low-rank tuning of such a copy.

The served weights are read and never written: a copy has modules of its own around the same
tensors, and tuning adds small matrices beside them (LoRA: Hu et al. 2021, arXiv 2106.09685).
"""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from dutchdoor.runtime.transformers_engine.loading import LoadedModel

__all__ = ["Factors", "Row", "Tuning", "blocks_of", "merge", "shared_copy"]

RANK = 8
ROWS_A_STEP = 4
_NAMES = ("q_proj", "v_proj", "up_proj", "down_proj")
_DECAYS = (0.9, 0.999)

Factors = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Per linear layer: float32 [rank, in] and [out, rank], whose product is added to its weight."""


class Row(NamedTuple):
    """One example: only the answer's tokens are learnt."""

    prompt: list[int]
    answer: list[int]


def shared_copy(loaded: LoadedModel) -> Any:
    """A model of its own modules around the served tensors; its hooks are none."""
    model = loaded.model
    tensors = itertools.chain(model.parameters(), model.buffers())
    copied = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    for module in copied.modules():
        module._forward_hooks.clear()
    return copied


def blocks_of(model: Any) -> list[Any]:
    """Its decoder blocks."""
    return list(model.get_decoder().layers)


def merge(model: Any, factors: Factors) -> None:
    """Puts tuned weights, of its own, into a `shared_copy`."""
    for name, linear in _linears(model):
        if name in factors:
            down, up = factors[name]
            weight = (linear.weight.float() + up @ down).to(linear.weight.dtype)
            linear.weight = nn.Parameter(weight, requires_grad=False)


class _LowRank(nn.Module):
    """A linear layer with a trainable product beside it."""

    def __init__(self, base: Any, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        ins, outs = base.in_features, base.out_features
        spread = ins**-0.5
        self.down = nn.Parameter((torch.rand(RANK, ins, generator=generator) * 2 - 1) * spread)
        self.up = nn.Parameter(torch.zeros(outs, RANK))

    def forward(self, x: torch.Tensor) -> Any:
        low = nn.functional.linear(x, self.down.to(x.dtype))
        return self.base(x) + nn.functional.linear(low, self.up.to(x.dtype))


class Tuning:
    """Tunes a `shared_copy`, step by step. Adam: Kingma and Ba 2015, arXiv 1412.6980."""

    def __init__(self, model: Any, rows: Sequence[Row], *, seed: int, learning_rate: float) -> None:
        self._model = model
        self._rate = learning_rate
        self._order = _forever(rows, seed)
        generator = torch.Generator().manual_seed(seed)
        self._layers: dict[str, _LowRank] = {}
        for name, linear in list(_linears(model)):
            parent, _, last = name.rpartition(".")
            self._layers[name] = _LowRank(linear, generator)
            setattr(model.get_submodule(parent), last, self._layers[name])
        self._parameters = [p for layer in self._layers.values() for p in (layer.down, layer.up)]
        self._moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self._parameters]
        self.steps = 0
        self.tokens = 0

    @property
    def examples(self) -> int:
        """How many examples were shown."""
        return self.steps * ROWS_A_STEP

    def step(self) -> None:
        """One step on `ROWS_A_STEP` examples."""
        rows = [next(self._order) for _ in range(ROWS_A_STEP)]
        # The engine's thread computes without gradients; here, and nowhere else, it needs them.
        with torch.enable_grad():
            gradients = torch.autograd.grad(self._loss(rows), self._parameters)
        self.steps += 1
        self.tokens += sum(len(row.prompt) + len(row.answer) for row in rows)
        first, second = (1 - decay**self.steps for decay in _DECAYS)
        for parameter, gradient, (mean, square) in zip(
            self._parameters, gradients, self._moments, strict=True
        ):
            mean.lerp_(gradient, 1 - _DECAYS[0])
            square.lerp_(gradient * gradient, 1 - _DECAYS[1])
            change = (mean / first) / ((square / second).sqrt() + 1e-8)
            parameter.data.add_(change, alpha=-self._rate)

    def factors(self) -> Factors:
        """What was learnt."""
        return {
            name: (layer.down.detach().clone(), layer.up.detach().clone())
            for name, layer in self._layers.items()
        }

    def _loss(self, rows: list[Row]) -> torch.Tensor:
        """Padded on the left, so that all answers end at the same place."""
        width = max(len(row.prompt) + len(row.answer) for row in rows)
        kept = max(len(row.answer) for row in rows)
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        labels = torch.full((len(rows), kept), -100)
        for place, row in enumerate(rows):
            tokens = torch.tensor(row.prompt + row.answer)
            ids[place, -len(tokens) :] = tokens
            mask[place, -len(tokens) :] = 1
            labels[place, -len(row.answer) :] = torch.tensor(row.answer)
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp_min(0),
            use_cache=False,
            logits_to_keep=kept + 1,
        )
        logits = output.logits[:, :-1].float()
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def _linears(model: Any) -> Iterator[tuple[str, Any]]:
    """The linear layers that are tuned: attention and MLP of each block, by their usual names."""
    blocks = {id(module) for block in blocks_of(model) for module in block.modules()}
    rows = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and id(module) in blocks
    ]
    usual = [(name, module) for name, module in rows if name.rsplit(".", 1)[-1] in _NAMES]
    yield from usual or rows


def _forever(rows: Sequence[Row], seed: int) -> Iterator[Row]:
    seeded = random.Random(seed)  # noqa: S311 - to repeat a run, not a secret
    while True:
        yield from seeded.sample(list(rows), len(rows))
