"""Modifications that need no training: a direction taken out or added, weights of few bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from dutchdoor.runtime.transformers_engine.tuning import blocks_of

__all__ = ["DirectionAdded", "DirectionTaken", "round_weights", "rounded"]

_GROUP = 64


class DirectionTaken:
    """Takes a share of one direction out of the residual stream after each of some blocks.

    Source: Arditi et al. 2024, arXiv 2406.11717, section 2.4 (there at all layers, share 1).
    """

    def __init__(self, layers: Sequence[Any], direction: torch.Tensor, share: float) -> None:
        """direction: float32 [h], not zero. share: 1 takes it out, more turns it round."""
        self._direction = direction / direction.norm()
        self._share = share
        self._hooks = [layer.register_forward_hook(self._change) for layer in layers]

    def remove(self) -> None:
        """Undoes it."""
        for hook in self._hooks:
            hook.remove()

    def _change(self, _module: Any, _inputs: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        along = (hidden.float() @ self._direction)[..., None] * self._direction
        changed = (hidden.float() - self._share * along).to(hidden.dtype)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed


class DirectionAdded:
    """Adds a vector to the residual stream after one block, at every position.

    Source: activation addition in Arditi et al. 2024, arXiv 2406.11717, section 2.4, and Turner et
    al. 2023, arXiv 2308.10248.
    """

    def __init__(self, layer: Any, vector: torch.Tensor) -> None:
        """vector: float32 [h], with its length; negative to steer away from what it stands for."""
        self._vector = vector
        self._hook = layer.register_forward_hook(self._change)

    def remove(self) -> None:
        """Undoes it."""
        self._hook.remove()

    def _change(self, _module: Any, _inputs: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        changed = (hidden.float() + self._vector).to(hidden.dtype)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed


def round_weights(model: Any, bits: int) -> Iterator[None]:
    """Gives a shared copy's blocks weights of `bits` bits, rounded to nearest, layer by layer."""
    for block in blocks_of(model):
        for module in block.modules():
            if isinstance(module, nn.Linear):
                weight = rounded(module.weight, bits)
                module.weight = nn.Parameter(weight, requires_grad=False)
        yield


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    """`weight` [out, in] as symmetric round-to-nearest of `bits` bits gives it back.

    One scale for 64 weights of a row, or for a row whose length that does not divide.
    """
    top = 2 ** (bits - 1) - 1
    group = _GROUP if weight.shape[-1] % _GROUP == 0 else weight.shape[-1]
    parts = weight.float().view(weight.shape[0], -1, group)
    scale = parts.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / top
    nearest: torch.Tensor = (parts / scale).round().clamp(-top - 1, top) * scale
    return nearest.view_as(weight).to(weight.dtype)
