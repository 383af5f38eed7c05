"""The residual stream as the blocks leave it: `blocks.{i}.hook_resid_post` of TransformerLens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["Enough", "Taps"]


class Enough(Exception):
    """Ends a forward pass after the last block that anybody asked for."""


class Taps:
    """Hooks on every block of one model; they keep only what is asked for at the time.

    One thread uses them at a time, the engine's.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self._wanted: frozenset[int] = frozenset()
        self._stop_after: int | None = None
        self._taken: dict[int, torch.Tensor] = {}
        for index, layer in enumerate(layers):
            layer.register_forward_hook(self._hook(index))

    @contextmanager
    def take(
        self, layers: Iterable[int], *, stop_early: bool = False
    ) -> Iterator[dict[int, torch.Tensor]]:
        """Collects [batch, tokens, h] of `layers` from the forward pass inside.

        stop_early: leave the pass with `Enough`, which is swallowed here, after the last of them.
        """
        self._wanted = frozenset(layers)
        self._stop_after = max(self._wanted) if stop_early and self._wanted else None
        self._taken = {}
        try:
            yield self._taken
        except Enough:
            pass
        finally:
            self._wanted, self._stop_after, self._taken = frozenset(), None, {}

    def _hook(self, index: int) -> Any:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            if index in self._wanted:
                self._taken[index] = output[0] if isinstance(output, tuple) else output
            if index == self._stop_after:
                raise Enough

        return keep
