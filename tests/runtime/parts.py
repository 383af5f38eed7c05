"""Parts for tests of the engine: a folder read like a bundle, and probes that do as told."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dutchdoor.errors import Invalid
from dutchdoor.guard.model import Action, Verdict
from dutchdoor.runtime.ports import Engine, Hidden, Work
from dutchdoor.runtime.protocol import Accepted, Done, Failed, Generate, Token
from dutchdoor.weights.tensors import TensorView, parse_tensors

BUNDLE = "sha256:" + hashlib.sha256(b"a bundle of tests").hexdigest()
PROBE = "sha256:" + hashlib.sha256(b"a probe of tests").hexdigest()


class FolderFiles:
    """A plain model folder behind the port that a sealed bundle has."""

    def __init__(self, folder: Path, digest: str = BUNDLE) -> None:
        self._folder = folder
        self.digest = digest
        self.handed_out: list[memoryview] = []

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self._folder.iterdir()))

    def read(self, name: str) -> memoryview:
        memory = memoryview(bytearray((self._folder / name).read_bytes()))
        self.handed_out.append(memory)
        return memory

    def tensors(self, name: str) -> Sequence[TensorView]:
        memory = self.read(name)
        start = 8 + int.from_bytes(memory[:8], "little")
        entries = parse_tensors(bytes(memory[8:start]).decode(), len(memory) - start)
        return [
            TensorView(e.name, e.dtype, e.shape, memory[start + e.begin : start + e.end])
            for e in entries
        ]


@dataclass
class TestProbe:
    """Blocks a prompt of `prompt_tokens` tokens, or a completion at its token number `block_at`.

    seen: how many tokens of each completion its judges have seen.
    """

    __test__ = False

    block_at: int | None = None
    block_prompt: bool = False
    raise_at: int | None = None
    layers: tuple[int, ...] = (1, 3)
    digest: str = PROBE
    bundle: str = BUNDLE
    seen: list[int] = field(default_factory=list)
    prompts: list[tuple[tuple[int, ...], int, int]] = field(default_factory=list)
    thresholds: tuple[str, ...] = ("fpr_0.01",)
    on_feed: Callable[[int], None] | None = None
    hidden: int = 64

    def judge_prompt(
        self, hidden: Hidden, user_last: int, threshold: str, user_first: int = 1
    ) -> Verdict:
        self._check(threshold)
        shape = tuple(hidden[self.layers[0]].shape)
        self.prompts.append((shape, user_first, user_last))
        return self._verdict(bad=self.block_prompt)

    def stream(self, threshold: str) -> _TestStream:
        self._check(threshold)
        self.seen.append(0)
        return _TestStream(self, len(self.seen) - 1)

    def _check(self, threshold: str) -> None:
        if threshold not in {"", "fpr_0.01"}:
            raise Invalid("no such threshold", code="no_such_threshold")

    def _verdict(self, *, bad: bool) -> Verdict:
        return Verdict("probe", "test", Action.BLOCK if bad else Action.ALLOW, score="0.5")


class _TestStream:
    def __init__(self, probe: TestProbe, place: int) -> None:
        self._probe = probe
        self._place = place

    def feed(self, hidden: Hidden) -> Verdict:
        assert all(hidden[layer].shape == (self._probe.hidden,) for layer in self._probe.layers)
        self._probe.seen[self._place] += 1
        count = self._probe.seen[self._place]
        if self._probe.on_feed is not None:
            self._probe.on_feed(count)
        if count == self._probe.raise_at:
            raise ZeroDivisionError
        return self._probe._verdict(bad=count == self._probe.block_at)


class Run:
    """One request in an engine, from the side of whoever waits for it."""

    def __init__(self, engine: Engine, work: Work) -> None:
        self.messages: list[Any] = []
        self._ended = threading.Event()
        self.ticket = engine.submit(work, self._sink)

    def _sink(self, message: Any) -> None:
        self.messages.append(message)
        if not isinstance(message, Accepted | Token):
            self._ended.set()

    def wait(self) -> Any:
        """The last message."""
        assert self._ended.wait(120), "the request did not end"
        return self.messages[-1]

    @property
    def tokens(self) -> list[Token]:
        return [m for m in self.messages if isinstance(m, Token) and not m.prompt]

    @property
    def token_ids(self) -> list[int]:
        return [token.token_id for token in self.tokens]

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)

    @property
    def done(self) -> Done:
        message = self.wait()
        assert isinstance(message, Done), message
        return message

    @property
    def failure(self) -> Failed:
        message = self.wait()
        assert isinstance(message, Failed), message
        return message


def run_all(engine: Engine, works: Sequence[Work]) -> list[Run]:
    """All of them at once; returns when all have ended."""
    runs = [Run(engine, work) for work in works]
    for run in runs:
        run.wait()
    return runs


def greedy(name: str, text: str, tokens_max: int = 12, **more: Any) -> Generate:
    """A greedy completion of a text."""
    return Generate(name, tokens_max, text=text, temperature=0.0, **more)
