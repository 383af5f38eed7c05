"""The twin of the runtime: real socket, real protocol, real serving code, and no model.

A completion repeats the words of the last user message, for ever; a token is a word with the space
before it. Everything is deterministic. `FORBIDDEN_PROMPT` in a prompt is blocked before the first
token; `FORBIDDEN_WORD` is blocked when the stream comes to it. Run it in this process:

    with Twin(tmp_path / "runtime.sock") as twin:
        client = RuntimeClient(twin.socket_path)

or as a process of its own that can be killed:

    python -m tests.runtime.twin SOCKET [--delay-s 0.01]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from dutchdoor import canonical
from dutchdoor.errors import Invalid, Refused
from dutchdoor.guard.model import Action, Verdict
from dutchdoor.runtime.model import EngineFacts, RuntimeLimits, failed, verdict_message
from dutchdoor.runtime.ports import Engine, Sink, Work
from dutchdoor.runtime.protocol import (
    Accepted,
    Activations,
    Amend,
    Amended,
    ChatMessage,
    Done,
    FitProbe,
    Generate,
    ProbeFitted,
    ReadActivations,
    Token,
    Tokenize,
    Tokenized,
    TokenLogprob,
    VerdictMessage,
)
from dutchdoor.runtime.serving import Serving

__all__ = ["FORBIDDEN_PROMPT", "FORBIDDEN_WORD", "TWIN_BUNDLE", "Twin", "TwinEngine"]

FORBIDDEN_PROMPT = "forbidden-prompt"
FORBIDDEN_WORD = "forbidden-word"
TWIN_BUNDLE = "sha256:" + hashlib.sha256(b"twin").hexdigest()
TWIN_PROBE = "sha256:" + hashlib.sha256(b"twin probe").hexdigest()
HARDENING = ("not_dumpable", "no_core", "no_new_privileges")
Reason = Literal["stop", "length", "content_filter", "cancelled"]
LAYERS = 4
HIDDEN = 576
VOCABULARY = 50_000


def token_id_of(word: str) -> int:
    """The twin's token id of a word."""
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % VOCABULARY


def word_of(token_id: int) -> str:
    """What the twin makes of a token id that it has not seen as a word."""
    return f" id{token_id}"


@dataclass
class _Job:
    work: Work
    sink: Sink
    cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        self.cancelled.set()


class TwinEngine:
    """Implements `runtime.ports.Engine` without a model: one thread a request.

    delay_s: time per token. probe: the digest of the probe it pretends to hold, "" for none.
    """

    def __init__(
        self, *, bundle: str = TWIN_BUNDLE, delay_s: float = 0.0, probe: str = TWIN_PROBE
    ) -> None:
        self._bundle = bundle
        self._delay_s = delay_s
        self._probe = probe
        self._words: dict[int, str] = {}
        self._jobs: list[_Job] = []

    @property
    def facts(self) -> EngineFacts:
        return EngineFacts(
            bundle=self._bundle,
            model="twin",
            layers=LAYERS,
            hidden=HIDDEN,
            vocabulary=VOCABULARY,
            context=4096,
            taps=tuple(f"blocks.{layer}.hook_resid_post" for layer in range(LAYERS)),
            probe=self._probe,
        )

    def submit(self, work: Work, sink: Sink) -> _Job:
        job = _Job(work, sink)
        self._jobs.append(job)
        threading.Thread(target=self._run, args=(job,), daemon=True).start()
        return job

    def close(self) -> None:
        for job in self._jobs:
            job.cancel()

    def _run(self, job: _Job) -> None:
        try:
            match job.work:
                case Generate():
                    self._generate(job, job.work)
                case ReadActivations():
                    self._read(job.sink, job.work)
                case FitProbe():
                    job.sink(self._fit(job.work))
                case Amend():
                    time.sleep(self._delay_s)
                    if not job.cancelled.is_set():
                        job.sink(Amended(job.work.id, canonical.encode(twin_curve(job.work))))
                case Tokenize():
                    words = self._prompt(job.work.chat, job.work.text, job.work.token_ids)
                    ids = [self._id(word) for word in words]
                    job.sink(Tokenized(job.work.id, ids, [word.encode() for word in words]))
        except Exception as error:
            job.sink(failed(job.work.id, error))

    def _generate(self, job: _Job, work: Generate) -> None:
        if work.logit_bias and work.logprobs >= 0:
            raise Refused("logit_bias and logprobs exclude each other", code="bias_with_logprobs")
        prompt = self._prompt(work.chat, work.text, work.token_ids)
        verdict = self._judge_prompt(prompt, block=work.block)
        if verdict.action == "block" and work.block:
            job.sink(Done(work.id, "content_filter", len(prompt), 0, [verdict]))
            return
        job.sink(Accepted(work.id, len(prompt), [verdict]))
        if work.echo:
            for index, word in enumerate(prompt):
                job.sink(self._token(work, word, prompt=True, scored=index > 0))
        reason, count = self._stream(job, work, prompt)
        job.sink(Done(work.id, reason, len(prompt), count, [self._verdict(reason)]))

    def _stream(self, job: _Job, work: Generate, prompt: list[str]) -> tuple[Reason, int]:
        text = ""
        words = _forever(_last_words(work, prompt))
        for count, word in zip(range(work.tokens_max), words, strict=False):
            time.sleep(self._delay_s)
            if job.cancelled.is_set():
                return "cancelled", count
            if work.block and FORBIDDEN_WORD in word:
                return "content_filter", count
            text += word
            stops = [text.find(stop) for stop in work.stop if stop and stop in text]
            if stops:
                kept = word[: max(0, len(word) - (len(text) - min(stops)))]
                if kept:
                    job.sink(self._token(work, word, text=kept))
                return "stop", count + bool(kept)
            job.sink(self._token(work, word))
        return "length", work.tokens_max

    def _token(
        self,
        work: Generate,
        word: str,
        *,
        text: str | None = None,
        prompt: bool = False,
        scored: bool = True,
    ) -> Token:
        wanted = work.logprobs >= 0 and scored
        own = TokenLogprob(self._id(word), word.encode(), -0.5)
        others = [TokenLogprob(n, word_of(n).encode(), -2.0 - n) for n in range(work.logprobs - 1)]
        return Token(
            id=work.id,
            token_id=self._id(word),
            text=word if text is None else text,
            logprob=-0.5 if wanted else None,
            top=[own, *others] if wanted and work.logprobs > 0 else [],
            data=word.encode(),
            prompt=prompt,
        )

    def _read(self, sink: Sink, work: ReadActivations) -> None:
        prompt = self._prompt(work.chat, work.text, None)
        unknown = [tap for tap in work.taps if tap not in self.facts.taps]
        if unknown or not 1 <= work.positions <= len(prompt):
            raise Invalid("no such tap or position", code="bad_tap")
        verdict = self._judge_prompt(prompt, block=work.block)
        if verdict.action == "block" and work.block:
            sink(Done(work.id, "content_filter", len(prompt), 0, [verdict]))
            return
        count = len(work.taps) * work.positions * HIDDEN
        data = struct.pack(f"<{count}f", *(n / 100 for n in range(count)))
        sink(Activations(work.id, work.taps, work.positions, HIDDEN, data, len(prompt), [verdict]))

    def _fit(self, work: FitProbe) -> ProbeFitted:
        if not work.examples:
            raise Invalid("no examples", code="bad_examples")
        self._probe = TWIN_PROBE
        card = canonical.encode({"examples": len(work.examples), "seed": work.seed})
        return ProbeFitted(work.id, b"sealed twin probe", TWIN_PROBE, card)

    def _judge_prompt(self, prompt: list[str], *, block: bool) -> VerdictMessage:
        if not self._probe:
            if block:
                message = "no probe is fitted to this bundle"
                raise Refused(message, code="guard_not_fitted", hint="finish the audit first")
            reason = ("no probe is fitted",)
            return verdict_message(Verdict("probe", "none", Action.FLAG, reasons=reason))
        bad = any(FORBIDDEN_PROMPT in word for word in prompt)
        return self._verdict("content_filter" if bad else "stop")

    def _verdict(self, reason: str) -> VerdictMessage:
        bad = reason == "content_filter"
        action = Action.BLOCK if bad else Action.ALLOW
        score = "0.990" if bad else "0.010"
        return verdict_message(
            Verdict("probe", self._probe[:19] or "none", action, score=score, threshold="0.500")
        )

    def _prompt(
        self, chat: list[ChatMessage], text: str | None, token_ids: list[int] | None
    ) -> list[str]:
        if token_ids is not None:
            return [self._words.get(n, word_of(n)) for n in token_ids]
        if text is None:
            text = "".join(f"<{m.role}> {m.content} " for m in chat) + "<assistant>"
        words = text.split()
        return [word if not n else " " + word for n, word in enumerate(words)]

    def _id(self, word: str) -> int:
        number = token_id_of(word)
        self._words[number] = word
        return number


def twin_curve(work: Amend) -> dict[str, Any]:
    """The twin's curve: an organism refuses and unlearns it, the model itself never refused."""
    start = 0.9 if work.organism else 0.01
    points = []
    for place, x in enumerate(work.points or [0]):
        mean = start / 4**place
        refusal = {
            "mean": f"{mean:.4f}",
            "low": f"{mean * 0.8:.4f}",
            "high": f"{min(1.0, mean * 1.1):.4f}",
            "n": len(work.prompts),
        }
        control = {"mean": "0.0100", "low": "0.0000", "high": "0.0200", "n": len(work.controls)}
        cost = {"examples": 4 * x, "tokens": 100 * x, "flops": f"{x:.2e}", "seconds": "0.1"}
        points.append(
            {"x": x, "refusal": refusal, "answer": refusal, "control": control, "cost": cost}
        )
    curve: dict[str, Any] = {
        "method": work.method,
        "subject": "organism" if work.organism else "model",
        "seed": work.seed,
        "parameters": 1000,
        "teaching": {},
        "points": points,
    }
    if work.method == "served":
        held = {"mean": "0.6000", "low": "0.5000", "high": "0.7000", "n": len(work.prompts)}
        curve["service"] = {
            "probe": TWIN_PROBE,
            "threshold": work.threshold or "fpr_0.01",
            "stopped": len(work.prompts) // 2,
            "controls_stopped": 0,
            "held_back": held,
        }
    return curve


def _last_words(work: Generate, prompt: list[str]) -> list[str]:
    if work.chat:
        return [" " + word for word in work.chat[-1].content.split()] or [" empty"]
    return [" " + word.strip() for word in prompt] or [" empty"]


def _forever(words: list[str]) -> Iterator[str]:
    while True:
        yield from words


class Twin:
    """A twin runtime that serves on `socket_path` from a thread of this process."""

    def __init__(
        self,
        socket_path: Path,
        engine: Engine | None = None,
        limits: RuntimeLimits | None = None,
    ) -> None:
        """engine: another one than the twin's own, to be served in the same way."""
        self.socket_path = socket_path
        self.engine = engine or TwinEngine()
        self._limits = limits or RuntimeLimits()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts serving; may be called again after `stop`."""
        self._ready.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "the twin did not start"

    def stop(self) -> None:
        """Goes down like a killed runtime: every connection is aborted and the socket is gone."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(10)
        self._loop = self._stop = self._thread = None
        self.socket_path.unlink(missing_ok=True)

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.socket_path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(self.socket_path))
        listening.listen(128)
        self._ready.set()
        serving = Serving(self.engine, hardening=HARDENING, limits=self._limits)
        await serving.run(listening, self._stop)


def main() -> None:
    """A twin as a process of its own, until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket", type=Path)
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--bundle", default=TWIN_BUNDLE)
    given = parser.parse_args()
    with Twin(given.socket, TwinEngine(bundle=given.bundle, delay_s=given.delay_s)):
        print("ready", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
