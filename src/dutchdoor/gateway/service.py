"""One inference, from the caller's key to the receipt: the eleven steps in their order.

    1 authenticate            5 guard on the prompt        9 settle budgets
    2 decision in force       6 entry "begun", durable    10 entry "done", durable
    3 policies and grant      7 runtime accepts           11 receipt
    4 reserve budgets         8 stream, held back

Steps 1 to 5 are in `admission.py`, 6 and 9 to 11 in `closing.py`, what is watched while tokens
flow in `watch.py`. Whatever breaks at any arrow ends as docs/concepts/one-inference.md says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from functools import lru_cache, partial
from typing import Any, TypeVar

from dutchdoor.access.model import Amounts
from dutchdoor.clock import Clock
from dutchdoor.config import Config, Places
from dutchdoor.errors import DutchdoorError, Refused, Unavailable
from dutchdoor.gateway.admission import Admission
from dutchdoor.gateway.amending import Amending
from dutchdoor.gateway.attempt import Attempt, Ending, HangUp, new_attempt
from dutchdoor.gateway.closing import Closed, Closing
from dutchdoor.gateway.completion import Completion
from dutchdoor.gateway.content import ContentStore
from dutchdoor.gateway.desk import Desk
from dutchdoor.gateway.enforcing import EnforcementWatch
from dutchdoor.gateway.index import InferenceIndex
from dutchdoor.gateway.model import (
    ActivationsRead,
    ActivationsRequest,
    AmendRead,
    AmendRequest,
    Event,
    Finished,
    FitRequest,
    InferenceRequest,
    Outcome,
    ProbeRead,
    Stopped,
    Usage,
    depths_needed,
    stopped,
    unexpected,
)
from dutchdoor.gateway.policies import PolicyWatch
from dutchdoor.gateway.ports import Access, Decisions, Enforcement, Evidence, Rules, Runtime
from dutchdoor.gateway.presence import Presence
from dutchdoor.gateway.recorder import Recorder
from dutchdoor.gateway.recovery import recover
from dutchdoor.gateway.screen import Screen
from dutchdoor.gateway.watch import Watch
from dutchdoor.guard.rulefile import Side
from dutchdoor.runtime.protocol import Generate

__all__ = ["Gateway"]

ALTERNATIVES_MAX = 65_536
STOP_S_MAX = 10.0
_Result = TypeVar("_Result")


class Gateway:
    """Everything a caller can ask for, each under one decision and in one log."""

    def __init__(
        self,
        *,
        evidence: Evidence,
        decisions: Decisions,
        access: Access,
        rules: Rules,
        runtime: Runtime,
        config: Config,
        places: Places,
        clock: Clock,
        bundle: str = "",
        enforcement: Enforcement | None = None,
    ) -> None:
        """bundle: the digest of the one served, "" where only the runtime knows."""
        self._config = config
        self._folder = places.run / "gateways"
        self._runtime = runtime
        self._rules = rules
        self._presence = Presence(self._folder)
        self.index = InferenceIndex(evidence)
        self.recorder = Recorder(evidence, clock)
        self.admission = Admission(
            access=access,
            decisions=decisions,
            rules=rules,
            runtime=runtime,
            limits=config.limits,
            clock=clock,
            bundle=bundle,
        )
        self.watch = Watch(
            decisions=decisions,
            admission=self.admission,
            index=self.index,
            recorder=self.recorder,
            clock=clock,
        )
        self.enforcement = EnforcementWatch(enforcement, runtime, self.watch, bundle)
        self.policies = PolicyWatch(self.admission, self.index, self.recorder)
        self.closing = Closing(
            admission=self.admission,
            evidence=evidence,
            recorder=self.recorder,
            content=ContentStore(places.content),
            gateway=self._presence.name,
        )
        self._reading = Amending(
            self,
            admission=self.admission,
            closing=self.closing,
            recorder=self.recorder,
            runtime=runtime,
        )
        self.desk = Desk(
            admission=self.admission,
            closing=self.closing,
            decisions=decisions,
            runtime=runtime,
            index=self.index,
            clock=clock,
            bundle=bundle,
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False
        # The same few thousand tokens come up as alternatives again and again.
        judge = partial(rules.judge, side=Side.OUTPUT)
        self._judge_alternative = lru_cache(ALTERNATIVES_MAX)(judge)

    async def start(self) -> list[str]:
        """Recover, then watch; gives the inferences that were found lost.

        Raises Unavailable, Tampered: the log, the budgets or the lock folder cannot be used.
        """
        self._presence.enter()
        await self.watch.follow_log()
        lost = await recover(
            index=self.index,
            presence=self._presence,
            recorder=self.recorder,
            admission=self.admission,
            folder=self._folder,
        )
        await self.policies.follow()
        await self.enforcement.follow()
        self.admission.access.lend(self._presence.name)
        late = (self.closing.settle_late, self.policies.follow, self.enforcement.follow)
        self.watch.start(*late, self.admission.tidy)
        return lost

    def wind_down(self) -> None:
        """Begin nothing more, and end what runs; for a signal handler, before `aclose`."""
        self._stopping = True
        message = "the gateway is stopping"
        error = Unavailable(message, code="gateway_stopping", hint="try again in a moment")
        self.watch.cut_all(error, Outcome.FAILED)

    async def aclose(self) -> None:
        """End what runs, record its end, and stop."""
        self.wind_down()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.watch.idle.wait(), STOP_S_MAX)
        await self.watch.stop()
        with contextlib.suppress(DutchdoorError):
            await self.watch.pay()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.admission.aclose()
        self._presence.leave()

    async def infer(
        self, key: str, request: InferenceRequest, hang_up: HangUp | None = None
    ) -> AsyncGenerator[Event, None]:
        """The events of one completion: `Started`, text, and `Finished` or `Stopped`.

        key: the caller's API key, unverified. hang_up: told by the caller's side when they are
        gone. Leaving the generator early counts as gone too.
        """
        try:
            self.check_room()
            depths = depths_needed(request)
            attempt = new_attempt(key, request.route, request.prompt, depths=depths, action="infer")
        except DutchdoorError as error:
            yield stopped(error)
            return
        ending = Ending()
        beginning = self.keep(self._begin(attempt, request))  # steps 1 to 6
        try:
            generate = await asyncio.shield(beginning)
        except Exception as error:  # Ours are refusals; any other is a mistake, and refuses too.
            reason = error if isinstance(error, DutchdoorError) else unexpected(error)
            yield await asyncio.shield(self.keep(self.refuse(attempt, reason)))
            return
        except BaseException:  # The caller's task is being cancelled: undo what was begun.
            self.keep(self.abandon(beginning, attempt))
            raise
        completion = self._completion(attempt, ending, request)
        failure: DutchdoorError | None = None
        try:
            self.guard_running(attempt, hang_up)
            if hang_up is not None:
                hang_up.more = completion.more
            await attempt.mailbox.connect(self._runtime, generate)
            async with contextlib.aclosing(completion.events()) as events:  # steps 7 and 8
                async for event in events:
                    yield event
        except Exception as error:  # Whatever breaks, nothing more leaves, and the log says so.
            failure = error if isinstance(error, DutchdoorError) else unexpected(error)
            failure = await self.explain(attempt, ending, failure)
        finally:
            finishing = self.keep(self.finish(attempt, ending))  # steps 9 to 11
        async for last in self._last(attempt, ending, completion, failure, finishing):
            yield last

    async def activations(
        self, key: str, request: ActivationsRequest, hang_up: HangUp | None = None
    ) -> ActivationsRead | Stopped:
        """Hidden vectors at named taps, or why not."""
        return await asyncio.shield(self.keep(self._reading.activations(key, request, hang_up)))

    async def fit_probe(
        self, key: str, request: FitRequest, hang_up: HangUp | None = None
    ) -> ProbeRead | Stopped:
        """The guard's probe, fitted inside the runtime, or why not; only for the audit."""
        return await asyncio.shield(self.keep(self._reading.fit_probe(key, request, hang_up)))

    async def amend(
        self, key: str, request: AmendRequest, hang_up: HangUp | None = None
    ) -> AmendRead | Stopped:
        """What one way to modify the model does, as figures, or why not; only for the audit."""
        return await asyncio.shield(self.keep(self._reading.amend(key, request, hang_up)))

    async def _last(
        self,
        attempt: Attempt,
        ending: Ending,
        completion: Completion,
        failure: DutchdoorError | None,
        finishing: asyncio.Task[Closed],
    ) -> AsyncGenerator[Event, None]:
        """What leaves after `inference_done` is durable: the held tail, and the end."""
        try:
            closed = await asyncio.shield(finishing)
        except DutchdoorError as error:
            yield stopped(error, attempt.inference)
            return
        if failure is None and attempt.cut is not None:
            failure = attempt.cut.error  # Cut while the end was being recorded: the tail stays.
        if failure is not None:
            yield stopped(failure, attempt.inference)
            return
        if completion.tail is not None:
            yield completion.tail
        usage = Usage(attempt.prompt_tokens, ending.completion_tokens)
        yield Finished(attempt.inference, ending.reason, usage, closed.done, closed.receipt)

    async def _begin(self, attempt: Attempt, request: InferenceRequest) -> Generate:
        """Steps 1 to 6. Raises DutchdoorError: one of them says no."""
        admission = self.admission
        # 1 authenticate
        await admission.authenticate(attempt)
        # 2 the grant's bundle and the decision in force for it (the grant is found in step 3)
        await admission.find_decision(attempt, request.model)
        # 3 may this person do this, at this depth, now?
        await admission.decide(attempt)
        # 4 reserve budgets: the prompt as counted, and all that may be written
        await admission.read_prompt(attempt, request.prompt)
        tokens_max = admission.tokens_max(attempt, request.sampling.tokens_max)
        cost = admission.cost(attempt, request, tokens_max)
        tokens = attempt.prompt_tokens + tokens_max
        await admission.reserve(attempt, Amounts(1, tokens, cost.vectors, cost.numbers))
        # 5 guard on the prompt
        admission.judge_prompt(attempt, request.prompt)
        # 6 "begun" is durable before the runtime hears of it
        await self.closing.begin(attempt)
        return self._generate(attempt, request, tokens_max)

    def _generate(self, attempt: Attempt, request: InferenceRequest, tokens_max: int) -> Generate:
        assert attempt.decision is not None, "the decision was found"
        terms, sampling, prompt = attempt.decision.guard, request.sampling, request.prompt
        return Generate(
            id=attempt.inference,
            tokens_max=tokens_max,
            chat=list(prompt.chat),
            text=prompt.text,
            token_ids=None if prompt.token_ids is None else list(prompt.token_ids),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop=list(sampling.stop),
            seed=sampling.seed,
            frequency_penalty=sampling.frequency_penalty,
            presence_penalty=sampling.presence_penalty,
            logit_bias=dict(sampling.logit_bias),
            logprobs=sampling.logprobs,
            echo=sampling.echo,
            block=attempt.blocking,
            threshold=terms.threshold,
            # The stricter of what the decision and the operator allow.
            hold_back_tokens=min(terms.hold_back_tokens, self._config.guard.hold_back_tokens),
        )

    def _completion(
        self, attempt: Attempt, ending: Ending, request: InferenceRequest
    ) -> Completion:
        screen = Screen(
            self._rules,
            self._judge_alternative,
            blocking=attempt.blocking,
            bytes_shown=request.sampling.logprobs >= 0,
            before="" if request.prompt.chat else attempt.prompt_text,
        )
        return Completion(attempt, ending, screen, request=request, rules=self._rules.version)

    def check_room(self) -> None:
        """Raises Unavailable: too much runs here already, or the log cannot be followed."""
        if self._stopping:
            hint = "try again in a moment"
            raise Unavailable("the gateway is stopping", code="gateway_stopping", hint=hint)
        trouble = self.watch.trouble or self.enforcement.trouble
        if trouble is not None:
            raise trouble
        if self.watch.running_count >= self._config.limits.requests_at_once_max:
            message = "the gateway runs as many inferences as it may"
            raise Unavailable(message, code="gateway_busy", hint="try again in a moment")

    def guard_running(
        self, attempt: Attempt, hang_up: HangUp | None, limit_s: int | None = None
    ) -> None:
        """From now on `attempt` ends when its caller, its time, or its right to run is gone."""
        self.watch.enter(attempt)
        gone = Refused("the caller is gone", code="client_gone")
        if hang_up is not None:
            hang_up.listen(lambda: attempt.cut_off(gone, Outcome.CANCELLED))
        limit = self._config.limits.request_s_max if limit_s is None else limit_s
        late = Unavailable(
            f"the inference took longer than {limit} s",
            code="request_timeout",
            hint="ask for fewer tokens",
        )
        loop = asyncio.get_running_loop()
        attempt.deadline = loop.call_later(limit, attempt.cut_off, late, Outcome.FAILED)

    async def refuse(self, attempt: Attempt, error: DutchdoorError) -> Stopped:
        """Record why it may not begin, and say so."""
        error = await self.enforcement.why(await self.watch.why(attempt, error))
        return await self.closing.refuse(attempt, error)

    async def explain(
        self, attempt: Attempt, ending: Ending, error: DutchdoorError
    ) -> DutchdoorError:
        """Write down how it ended, where it did not end by itself; the reason to tell."""
        error = await self.enforcement.why(await self.watch.why(attempt, error))
        ending.code = error.code
        if attempt.cut is not None and attempt.cut.error is error:
            ending.outcome = attempt.cut.outcome
        elif ending.outcome is Outcome.CANCELLED:
            ending.outcome = Outcome.FAILED
        return error

    async def finish(self, attempt: Attempt, ending: Ending) -> Closed:
        """Steps 9 to 11, after the runtime was told to stop what it may still be doing."""
        try:
            await attempt.mailbox.close()
            return await self.closing.close(attempt, ending)
        finally:
            self.watch.leave(attempt)
            if attempt.deadline is not None:
                attempt.deadline.cancel()

    async def abandon(self, beginning: asyncio.Task[Any], attempt: Attempt) -> None:
        """Undo the beginning of an inference whose caller's task was cancelled meanwhile."""
        await asyncio.gather(beginning, return_exceptions=True)
        gone = Refused("the caller is gone", code="client_gone")
        if attempt.begun >= 0:
            await self.finish(attempt, Ending(code=gone.code))
        else:
            await self.closing.refuse(attempt, gone)

    def keep(self, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """A task that runs to its end whatever becomes of whoever waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Seen: whoever waited has it, or nobody is there to tell.
