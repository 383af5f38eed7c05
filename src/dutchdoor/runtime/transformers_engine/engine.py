"""The engine on transformers: one thread, one model, many requests in one running batch.

A new prompt runs alone, in chunks, with steps of the running batch in between; its probe verdict
comes before its first token. Then its cache joins the batch. Each step feeds one token of every
row, hands the row's hidden states to its judge, and only then lets tokens go.
"""

from __future__ import annotations

import gc
import threading
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from dutchdoor.errors import Invalid, Refused, Unavailable
from dutchdoor.guard.model import Action, Verdict
from dutchdoor.runtime.checks import (
    check_amend,
    check_fit,
    check_generate,
    check_prompt,
    check_prompt_tokens,
    check_read,
)
from dutchdoor.runtime.guarding import Guard
from dutchdoor.runtime.model import EngineFacts, RuntimeLimits, failed, verdict_message
from dutchdoor.runtime.ports import BundleFiles, Sink, Ticket, Work
from dutchdoor.runtime.protocol import (
    Accepted,
    Activations,
    Amend,
    Amended,
    Done,
    FitProbe,
    Generate,
    ProbeFitted,
    ReadActivations,
    Tokenize,
    Tokenized,
)
from dutchdoor.runtime.transformers_engine.amending import Amender
from dutchdoor.runtime.transformers_engine.cache import BatchCache
from dutchdoor.runtime.transformers_engine.fitting import Fitter
from dutchdoor.runtime.transformers_engine.loading import LoadedModel, load_model, pick_dtype
from dutchdoor.runtime.transformers_engine.prefill import prefill, read_hidden
from dutchdoor.runtime.transformers_engine.row import Row, Sending
from dutchdoor.runtime.transformers_engine.sampling import noise_key_of
from dutchdoor.runtime.transformers_engine.taps import Taps
from dutchdoor.runtime.transformers_engine.text import Prompt

__all__ = ["EngineOptions", "TransformersEngine"]

_CLOSE_S_MAX = 30


@dataclass(frozen=True)
class EngineOptions:
    """How the engine runs. dtype: `auto`, `float32` or `bfloat16`. threads: of one operation.

    makes_code: whether the process may write machine code, as the fast kernels of bfloat16 do.
    """

    model: str
    dtype: str = "auto"
    threads: int = 2
    makes_code: bool = True


class TransformersEngine:
    """Implements `runtime.ports.Engine`. There is none without a guard."""

    def __init__(
        self,
        files: BundleFiles,
        guard: Guard,
        *,
        options: EngineOptions,
        limits: RuntimeLimits,
        fitter: Fitter | None = None,
        amender: Amender | None = None,
    ) -> None:
        """files: the opened bundle, read here and not kept. fitter: fits the probe in the audit.

        amender: where the decision lets somebody ask what a modification does.

        Raises Invalid: not a model that can be served, or the probe reads layers it has not.
        """
        dtype = pick_dtype(options.dtype, makes_code=options.makes_code)
        self._loaded: LoadedModel = load_model(files, dtype)
        self._guard = guard
        self._fitter = fitter
        self._amender = amender
        self._limits = limits
        self._options = options
        self._noise_key = noise_key_of(self._loaded.model)
        self._facts = _facts_of(self._loaded, files.digest, options.model)
        if any(not 0 <= layer < self._facts.layers for layer in guard.layers):
            message = "the probe reads layers that this model has not"
            raise Invalid(message, code="wrong_probe", hint="fit the guard on this bundle")
        self._taps = Taps(self._loaded.layers)
        self._cache = BatchCache(limits.batch_requests_max)
        self._rows: list[Row] = []
        self._waiting: deque[tuple[Work, Sending]] = deque()
        self._slow: deque[tuple[Iterator[Any], Sending]] = deque()
        self._change = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def facts(self) -> EngineFacts:
        return replace(self._facts, probe=self._guard.digest)

    def submit(self, work: Work, sink: Sink) -> Ticket:
        sending = Sending(work.id, sink)
        with self._change:
            if self._is_closing:
                raise _closing()
            if len(self._waiting) >= self._limits.queue_requests_max:
                message = "too many requests wait for the model"
                raise Unavailable(message, code="runtime_full", hint="try again in a moment")
            self._waiting.append((work, sending))
            self._change.notify()
        return sending

    def close(self) -> None:
        with self._change:
            self._is_closing = True
            self._change.notify()
        self._thread.join(_CLOSE_S_MAX)
        gc.collect()

    # Everything below runs in the engine's own thread.

    def _run(self) -> None:
        # The count of threads belongs to the thread that asks for it.
        torch.set_num_threads(max(1, self._options.threads))
        with torch.no_grad():
            while self._await_work():
                self._start_next()
                if self._rows:
                    self._step()
                if self._slow:
                    self._advance_slow()
        self._stop()

    def _await_work(self) -> bool:
        with self._change:
            while not (self._waiting or self._rows or self._slow or self._is_closing):
                self._change.wait()
            return not self._is_closing

    def _stop(self) -> None:
        sendings = [sending for _, sending in (*self._waiting, *self._slow)]
        for sending in (*sendings, *(row.sending for row in self._rows)):
            sending.end(failed(sending.request, _closing()))
        self._rows.clear()
        self._cache = BatchCache(0)
        del self._loaded, self._taps

    def _start_next(self) -> None:
        with self._change:
            if not self._waiting or len(self._rows) >= self._limits.batch_requests_max:
                return
            work, sending = self._waiting.popleft()
        try:
            self._start(work, sending)
        except Exception as error:
            # Whatever went wrong, this request gets nothing, and the others go on.
            sending.end(failed(work.id, error))

    def _start(self, work: Work, sending: Sending) -> None:
        if sending.is_cancelled:
            sending.end(Done(work.id, "cancelled", 0, 0))
        elif isinstance(work, Generate):
            self._start_generate(work, sending)
        elif isinstance(work, ReadActivations):
            self._read(work, sending)
        elif isinstance(work, Tokenize):
            self._tokenize(work, sending)
        elif isinstance(work, Amend):
            self._start_amend(work, sending)
        else:
            self._start_fit(work, sending)

    def _start_generate(self, work: Generate, sending: Sending) -> None:
        check_generate(work, self._limits, self.facts)
        threshold = self._guard.check(
            block=work.block, threshold=work.threshold, hold_back_tokens=work.hold_back_tokens
        )
        prompt = self._loaded.text.prompt(work.chat, work.text, work.token_ids)
        check_prompt_tokens(self._limits, self.facts, len(prompt.token_ids))
        count = len(prompt.token_ids)
        prefilled = prefill(
            self._loaded,
            self._taps,
            work,
            prompt.token_ids,
            layers=self._guard.layers,
            go_on=lambda: self._goes_on(sending),
        )
        if prefilled is None:
            sending.end(Done(work.id, "cancelled", count, 0))
            return
        verdict = self._judge(prefilled.hidden, prompt, threshold)
        verdicts = [verdict_message(verdict)]
        if work.block and verdict.action is Action.BLOCK:
            sending.end(Done(work.id, "content_filter", count, 0, verdicts))
            return
        sending.send(Accepted(work.id, count, verdicts))
        for token in prefilled.echoed:
            sending.send(token)
        room = min(work.tokens_max, self._loaded.context - count)
        if room <= 0:
            sending.end(Done(work.id, "length", count, 0))
            return
        probe = self._guard.probe
        row = Row(
            work,
            sending,
            self._loaded,
            judge=probe.stream(threshold) if probe is not None else None,
            prompt_tokens=count,
            tokens_max=room,
            noise_key=self._noise_key,
        )
        row.advance(prefilled.logits)
        if not row.is_over:
            self._cache.add(prefilled.cache)
            self._rows.append(row)

    def _goes_on(self, sending: Sending) -> bool:
        """Between two chunks of a prompt: a step for those who wait for their next token."""
        if self._rows:
            self._step()
        return not (sending.is_cancelled or self._is_closing)

    def _judge(self, hidden: dict[int, torch.Tensor], prompt: Prompt, threshold: str) -> Verdict:
        probe = self._guard.probe
        if probe is None:
            return self._guard.unjudged()
        return probe.judge_prompt(hidden, prompt.user_last, threshold, prompt.user_first)

    def _step(self) -> None:
        """One token of every row: feed, judge, sample, release; then rows that ended leave."""
        rows = list(self._rows)
        try:
            mask, positions = self._cache.before_step()
            with self._taps.take(self._guard.layers) as taken:
                output = self._loaded.model(
                    input_ids=torch.tensor([[row.next_token] for row in rows]),
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=self._cache.cache,
                    use_cache=True,
                )
            self._cache.after_step()
        except Exception as error:
            # The cache may be half written: no row of this batch can be trusted any more.
            for row in rows:
                row.fail(failed(row.request.id, error))
            self._rows.clear()
            self._cache = BatchCache(self._limits.batch_requests_max)
            return
        for place, row in enumerate(rows):
            try:
                row.judge({layer: hidden[place, -1] for layer, hidden in taken.items()})
                row.advance(output.logits[place, -1])
            except Exception as error:
                # A judge that fails has not allowed anything.
                row.fail(failed(row.request.id, error))
        for place in range(len(rows) - 1, -1, -1):
            if self._rows[place].is_over:
                self._cache.remove(place)
                self._rows[place] = self._rows[-1]
                self._rows.pop()

    def _read(self, work: ReadActivations, sending: Sending) -> None:
        layers = check_read(work, self._limits, self.facts)
        threshold = self._guard.check(
            block=work.block, threshold=work.threshold, hold_back_tokens=0
        )
        prompt = self._loaded.text.prompt(work.chat, work.text, None)
        count = len(prompt.token_ids)
        check_prompt_tokens(self._limits, self.facts, count)
        if work.positions > count:
            message = f"the prompt has {count} tokens, and {work.positions} positions are asked"
            raise Invalid(message, code="bad_request", hint="ask for fewer positions")
        wanted = {*layers, *self._guard.layers}
        hidden = read_hidden(
            self._loaded,
            self._taps,
            prompt.token_ids,
            wanted,
            go_on=lambda: self._goes_on(sending),
        )
        if hidden is None:
            sending.end(Done(work.id, "cancelled", count, 0))
            return
        judged = {layer: hidden[layer] for layer in self._guard.layers}
        verdict = self._judge(judged, prompt, threshold)
        if work.block and verdict.action is Action.BLOCK:
            sending.end(Done(work.id, "content_filter", count, 0, [verdict_message(verdict)]))
            return
        chosen = torch.stack([hidden[layer][-work.positions :].float() for layer in layers])
        sending.end(
            Activations(
                id=work.id,
                taps=work.taps,
                positions=work.positions,
                hidden=self._loaded.hidden,
                data=chosen.contiguous().numpy().astype("<f4").tobytes(),
                prompt_tokens=count,
                verdicts=[verdict_message(verdict)],
            )
        )

    def _tokenize(self, work: Tokenize, sending: Sending) -> None:
        loaded = self._loaded
        check_prompt(self._limits, work.chat, work.text, work.token_ids, loaded.vocabulary)
        ids = loaded.text.prompt(work.chat, work.text, work.token_ids).token_ids
        sending.end(Tokenized(work.id, ids, [loaded.text.piece(n) for n in ids]))

    def _start_fit(self, work: FitProbe, sending: Sending) -> None:
        check_fit(work, self._limits)
        self._guard.check_can_fit()
        if self._fitter is None:
            message = "this runtime fits no probe"
            raise Unavailable(message, code="no_fitter", hint="the key is gone: open it again")
        self._slow.append((self._fit(work, sending, self._fitter), sending))

    def _fit(self, work: FitProbe, sending: Sending, fitter: Fitter) -> Iterator[Any]:
        """Fits in slices, so that audits can go on generating meanwhile."""
        fitting = fitter(self._loaded, self._taps, work)
        while True:
            try:
                next(fitting)
            except StopIteration as stop:
                probe, sealed, card = stop.value
                break
            yield
        self._guard.adopt(probe)
        sending.end(ProbeFitted(work.id, sealed, probe.digest, card))

    def _start_amend(self, work: Amend, sending: Sending) -> None:
        check_amend(work, self._limits)
        if self._amender is None:
            message = "the decision lets nobody ask what a modification does"
            hint = "decide on the depth audit or fine_tuning for those who test"
            raise Refused(message, code="amend_not_decided", hint=hint)
        curve = self._amender(self._loaded, self._taps, self._guard, work)
        self._slow.append((self._amend(work, sending, curve), sending))

    def _amend(
        self, work: Amend, sending: Sending, curve: Generator[None, None, bytes]
    ) -> Iterator[Any]:
        data = yield from curve
        sending.end(Amended(work.id, data))

    def _advance_slow(self) -> None:
        job, sending = self._slow[0]
        try:
            if sending.is_cancelled:
                sending.end(Done(sending.request, "cancelled", 0, 0))
            else:
                next(job)
                return
        except StopIteration:
            pass
        except Exception as error:
            sending.end(failed(sending.request, error))
        self._slow.popleft()


def _facts_of(loaded: LoadedModel, bundle: str, model: str) -> EngineFacts:
    count = len(loaded.layers)
    return EngineFacts(
        bundle=bundle,
        model=model,
        layers=count,
        hidden=loaded.hidden,
        vocabulary=loaded.vocabulary,
        context=loaded.context,
        taps=tuple(f"blocks.{layer}.hook_resid_post" for layer in range(count)),
        probe="",
    )


def _closing() -> Unavailable:
    return Unavailable("the runtime is stopping", code="runtime_down", hint="try again later")
