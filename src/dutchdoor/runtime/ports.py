"""What the runtime needs from others, as narrow as it can be said.

Tensors are `Any` here: only `transformers_engine` knows torch. The probe is
`dutchdoor.guard.probe`; bundles come from `dutchdoor.weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from dutchdoor.guard.model import Verdict
from dutchdoor.runtime.model import EngineFacts
from dutchdoor.runtime.protocol import (
    Amend,
    FitProbe,
    FromRuntime,
    Generate,
    ReadActivations,
    Tokenize,
)

__all__ = [
    "BundleFiles",
    "Engine",
    "Hidden",
    "PromptJudge",
    "Sink",
    "StreamJudge",
    "Tensor",
    "Ticket",
    "Work",
]

Hidden = Mapping[int, Any]
"""Residual stream after the block of each index: float tensors [tokens, h], or [h] of one token."""

Work = Generate | ReadActivations | FitProbe | Amend | Tokenize
"""What an engine can be asked to do."""

Sink = Callable[[FromRuntime], None]
"""Takes an engine's messages, from any thread, in order; returns at once and never raises."""


class Ticket(Protocol):
    """One request inside an engine."""

    def cancel(self) -> None:
        """Ends it soon; its last message still comes. Safe to call twice and after the end."""
        ...


class Engine(Protocol):
    """Holds one model and yields only through the guard it was built with."""

    @property
    def facts(self) -> EngineFacts: ...

    def submit(self, work: Work, sink: Sink) -> Ticket:
        """Starts `work`; its messages go to `sink`, the last one ends it.

        Raises Unavailable: too many wait already.
        """
        ...

    def close(self) -> None:
        """Stops the engine and forgets the weights; what was running ends with `Failed`."""
        ...


class StreamJudge(Protocol):
    """Judges one completion, token by token."""

    def feed(self, hidden: Hidden) -> Verdict:
        """The verdict once the next token is seen; hidden: [h] at each layer."""
        ...


class PromptJudge(Protocol):
    """The guard's probe. layers: whose residual streams it reads. bundle: whom it was fitted on."""

    @property
    def layers(self) -> tuple[int, ...]: ...

    @property
    def digest(self) -> str: ...

    @property
    def bundle(self) -> str: ...

    @property
    def thresholds(self) -> tuple[str, ...]:
        """The names of its thresholds, the one that finds most first."""
        ...

    def judge_prompt(
        self, hidden: Hidden, user_last: int, threshold: str, user_first: int = 1
    ) -> Verdict:
        """The verdict on a prompt.

        hidden: [tokens, h]. user_first: index of the first token the caller wrote, in any turn.
        user_last: index of the last token of the last user's turn.
        Raises Invalid: the probe has no threshold of this name.
        """
        ...

    def stream(self, threshold: str) -> StreamJudge:
        """A judge of one completion. Raises Invalid: no threshold of this name."""
        ...


class Tensor(Protocol):
    """One tensor in memory. dtype: as safetensors writes it. data: its bytes, writable."""

    @property
    def name(self) -> str: ...

    @property
    def dtype(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def data(self) -> memoryview: ...


class BundleFiles(Protocol):
    """A bundle, opened in memory: `weights.reader.SealedBundle`."""

    @property
    def digest(self) -> str: ...

    def names(self) -> tuple[str, ...]:
        """The plain files' names."""
        ...

    def read(self, name: str) -> memoryview:
        """A file's bytes. Raises Tampered: they were changed."""
        ...

    def tensors(self, name: str) -> Sequence[Tensor]:
        """The tensors of one safetensors file, as views. Raises Tampered: it was changed."""
        ...
