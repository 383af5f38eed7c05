"""One completion inside the batch: from its last logits to what may leave."""

from __future__ import annotations

from typing import Any

import torch

from dutchdoor.guard.model import Action, Verdict
from dutchdoor.runtime.model import verdict_message
from dutchdoor.runtime.outbox import Outbox
from dutchdoor.runtime.ports import Hidden, Sink, StreamJudge
from dutchdoor.runtime.protocol import Done, Generate, Token, TokenLogprob, VerdictMessage
from dutchdoor.runtime.transformers_engine.loading import LoadedModel
from dutchdoor.runtime.transformers_engine.sampling import Sampler, score

__all__ = ["Row", "Sending", "prompt_token"]

_SEVERITY = {Action.ALLOW: 0, Action.FLAG: 1, Action.BLOCK: 2}


class Sending:
    """A request's way out: counts as ended once its last message has gone, and says nothing more.

    Cancelling is a wish from another thread; the engine's thread looks at it between steps.
    """

    def __init__(self, request: str, sink: Sink) -> None:
        self.request = request
        self.is_cancelled = False
        self.has_ended = False
        self._sink = sink

    def cancel(self) -> None:
        self.is_cancelled = True

    def send(self, message: Any) -> None:
        """One message that is not the last."""
        if not self.has_ended:
            self._sink(message)

    def end(self, message: Any) -> None:
        """The last message."""
        if not self.has_ended:
            self.has_ended = True
            self._sink(message)


class Row:
    """A completion that runs: its sampler, its judge, its outbox."""

    def __init__(
        self,
        request: Generate,
        sending: Sending,
        loaded: LoadedModel,
        *,
        judge: StreamJudge | None,
        prompt_tokens: int,
        tokens_max: int,
        noise_key: bytes,
    ) -> None:
        """judge: None only where no probe is loaded and the grant observes."""
        assert judge is not None or not request.block, "a guarded completion has a judge"
        self.request = request
        self.sending = sending
        self.next_token = 0
        self._loaded = loaded
        self._judge = judge
        self._sampler = Sampler(request, noise_key)
        # An observing grant's tokens do not wait for the judge; its verdicts are recorded.
        self._outbox = Outbox(
            request.id,
            stops=list(request.stop),
            is_judged=request.block,
            hold_back=request.hold_back_tokens,
        )
        self._prompt_tokens = prompt_tokens
        self._tokens_max = tokens_max
        self._sampled = 0
        self._fed = 0
        self._reason = ""
        self._verdict: Verdict | None = None

    @property
    def is_over(self) -> bool:
        return self.sending.has_ended

    def judge(self, hidden: Hidden) -> None:
        """Takes the hidden state of the token that was just fed; a block ends the completion."""
        if self._judge is None or self.is_over:
            return
        self._fed += 1
        verdict = self._judge.feed(hidden)
        if self._verdict is None or _SEVERITY[verdict.action] >= _SEVERITY[self._verdict.action]:
            self._verdict = verdict
        if verdict.action is Action.BLOCK and self.request.block:
            self._outbox.block()
            self._end("content_filter")
            return
        self._outbox.judged()

    def advance(self, logits: torch.Tensor) -> None:
        """Samples the next token where one is still wanted, and lets out what may leave."""
        if self.is_over:
            return
        if self.sending.is_cancelled:
            self._end("cancelled")
            return
        if not self._outbox.has_ended:
            self._sample(logits)
        for token in self._outbox.take():
            self.sending.send(token)
        # An observed completion is judged to its last token too, though nobody waits for it.
        is_seen = self._judge is None or self._fed >= self._outbox.released
        if self._outbox.has_ended and self._outbox.is_empty and is_seen:
            self._end(self._reason)

    def fail(self, message: Any) -> None:
        """Ends the completion with `message`; nothing that was held leaves."""
        self._outbox.block()
        self.sending.end(message)

    def _sample(self, logits: torch.Tensor) -> None:
        sampled = self._sampler.next(logits)
        self.next_token = sampled.token_id
        if sampled.token_id in self._loaded.eos:
            self._reason = "stop"
            self._outbox.end()
            return
        text = self._loaded.text
        self._outbox.add(
            sampled.token_id,
            text.piece(sampled.token_id),
            sampled.logprob,
            _named(self._loaded, sampled.top),
            is_special=text.is_special(sampled.token_id),
        )
        self._sampled += 1
        if self._outbox.has_stopped:
            self._reason = "stop"
        elif self._sampled >= self._tokens_max:
            self._reason = "length"
            self._outbox.end()

    def _end(self, reason: Any) -> None:
        verdicts: list[VerdictMessage] = []
        if self._verdict is not None:
            verdicts.append(verdict_message(self._verdict))
        done = Done(self.request.id, reason, self._prompt_tokens, self._outbox.released, verdicts)
        self.sending.end(done)


def prompt_token(
    request: Generate, loaded: LoadedModel, token_id: int, logits: torch.Tensor | None
) -> Token:
    """An echoed prompt token. logits: [vocabulary] that predicted it; None for the first."""
    text = loaded.text
    data = text.piece(token_id)
    logprob: float | None = None
    top: list[TokenLogprob] = []
    if request.logprobs >= 0 and logits is not None:
        logprob, best = score(logits.float(), token_id, request.logprobs)
        top = _named(loaded, best)
    shown = "" if text.is_special(token_id) else data.decode("utf-8", "replace")
    return Token(request.id, token_id, shown, logprob, top, data, prompt=True)


def _named(loaded: LoadedModel, top: list[tuple[int, float]]) -> list[TokenLogprob]:
    return [TokenLogprob(n, loaded.text.piece(n), logprob) for n, logprob in top]
