"""Inferences that answer all at once: activations read, and the guard's probe fitted.

The same eleven steps; step 8 is one answer, which leaves only after its end is durable.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from dutchdoor import canonical
from dutchdoor.access.extraction import NOTHING, Asked, Cost, cost_of
from dutchdoor.access.model import Amounts
from dutchdoor.errors import DutchdoorError, Invalid, Unavailable
from dutchdoor.evidence.decision import Depth
from dutchdoor.evidence.model import EntryKind
from dutchdoor.gateway.admission import Admission, content_refused
from dutchdoor.gateway.attempt import Attempt, Ending, HangUp, new_attempt
from dutchdoor.gateway.closing import Closed, Closing
from dutchdoor.gateway.completion import check_verdicts, verdicts_of
from dutchdoor.gateway.mailbox import Letter
from dutchdoor.gateway.model import (
    ActivationsRead,
    ActivationsRequest,
    FitRequest,
    Outcome,
    ProbeRead,
    Route,
    Stopped,
    stopped,
    unexpected,
)
from dutchdoor.gateway.ports import Runtime
from dutchdoor.gateway.recorder import Recorder
from dutchdoor.guard.model import Action, Verdict
from dutchdoor.runtime.model import Blocked
from dutchdoor.runtime.protocol import (
    Activations,
    Amended,
    FitProbe,
    ProbeFitted,
    ReadActivations,
)

__all__ = ["FIT_S_MAX", "Reading"]

FIT_S_MAX = 1800
_Answer = TypeVar("_Answer", Activations, Amended, ProbeFitted)


class Life(Protocol):
    """What the gateway does for every inference that runs."""

    def check_room(self) -> None: ...

    def guard_running(
        self, attempt: Attempt, hang_up: HangUp | None, limit_s: int | None = None
    ) -> None: ...

    async def refuse(self, attempt: Attempt, error: DutchdoorError) -> Stopped: ...

    async def explain(
        self, attempt: Attempt, ending: Ending, error: DutchdoorError
    ) -> DutchdoorError: ...

    async def finish(self, attempt: Attempt, ending: Ending) -> Closed: ...


class Reading:
    """Activations and probes. Everything here runs in a task that nobody's leaving cancels."""

    def __init__(
        self,
        life: Life,
        *,
        admission: Admission,
        closing: Closing,
        recorder: Recorder,
        runtime: Runtime,
    ) -> None:
        self._life = life
        self._admission = admission
        self._closing = closing
        self._recorder = recorder
        self._runtime = runtime

    async def activations(
        self, key: str, request: ActivationsRequest, hang_up: HangUp | None
    ) -> ActivationsRead | Stopped:
        """Hidden vectors at named taps, each counted before it is read."""
        attempt = await self._begun(
            lambda: new_attempt(
                key,
                Route.ACTIVATIONS,
                request.prompt,
                depths=frozenset({Depth.ACTIVATIONS}),
                action="read_activations",
            ),
            lambda attempt: self._begin_activations(attempt, request),
        )
        if isinstance(attempt, Stopped):
            return attempt
        reservation = attempt.reservation
        assert reservation is not None, "reserved before it began"

        def take(letter: Letter, ending: Ending) -> Activations:
            if not isinstance(letter, Activations):
                raise _broken()
            ending.verdicts.extend(verdicts_of(letter.verdicts))
            check_verdicts(attempt, ending.verdicts)
            if len(letter.data) != 4 * len(request.taps) * request.positions * letter.hidden:
                raise _broken()
            ending.cost = Cost(reservation.amounts.vectors)
            ending.data = letter.data
            return letter

        outcome = await self._run(
            attempt, hang_up, self._read(attempt, request), take, limit_s=None
        )
        if isinstance(outcome, Stopped):
            return outcome
        letter, closed = outcome
        assert attempt.decision is not None, "the decision was found"
        return ActivationsRead(
            inference=attempt.inference,
            model=attempt.decision.model,
            taps=request.taps,
            positions=request.positions,
            hidden=letter.hidden,
            data=letter.data,
            prompt_tokens=attempt.prompt_tokens,
            vectors_released=reservation.vectors_released,
            vectors_max=reservation.vectors_max,
            done=closed.done,
            receipt=closed.receipt,
        )

    async def fit_probe(
        self, key: str, request: FitRequest, hang_up: HangUp | None
    ) -> ProbeRead | Stopped:
        """The guard's probe, fitted inside the runtime on the model's own activations."""
        rows = request.examples
        attempt = await self._begun(
            lambda: new_attempt(
                key,
                Route.GUARD_FIT,
                canonical.encode([[e.text, e.label, e.source, e.category] for e in rows]),
                depths=frozenset({Depth.AUDIT}),
                action="fit_probe",
            ),
            lambda attempt: self._begin_fit(attempt, request),
        )
        if isinstance(attempt, Stopped):
            return attempt

        def take(letter: Letter, ending: Ending) -> ProbeFitted:
            if not isinstance(letter, ProbeFitted):
                raise _broken()
            ending.data = letter.sealed
            return letter

        fit = FitProbe(attempt.inference, list(request.examples), request.seed)
        outcome = await self._run(
            attempt, hang_up, self._runtime.fit_probe(fit), take, limit_s=FIT_S_MAX
        )
        if isinstance(outcome, Stopped):
            return outcome
        letter, closed = outcome
        assert attempt.description is not None, "described in step 2"
        body = {
            "bundle": attempt.description.bundle,
            "probe": letter.digest,
            "inference": attempt.inference,
            "card": "sha256:" + canonical.sha256_hex(letter.card),
        }
        try:
            await self._recorder.record(EntryKind.PROBE_FITTED, body)
        except DutchdoorError as error:
            return stopped(error, attempt.inference)
        return ProbeRead(
            inference=attempt.inference,
            sealed=letter.sealed,
            digest=letter.digest,
            card=letter.card,
            done=closed.done,
            receipt=closed.receipt,
        )

    async def _begun(
        self, make: Callable[[], Attempt], begin: Callable[[Attempt], Awaitable[None]]
    ) -> Attempt | Stopped:
        """Steps 1 to 6 of a fresh attempt; or why it may not begin, recorded."""
        try:
            self._life.check_room()
            attempt = make()
        except DutchdoorError as error:
            return stopped(error)
        try:
            await begin(attempt)
        except Exception as error:
            return await self._life.refuse(attempt, _ours(error))
        return attempt

    async def _begin_activations(self, attempt: Attempt, request: ActivationsRequest) -> None:
        admission = self._admission
        # 1 to 3
        await admission.authenticate(attempt)
        await admission.find_decision(attempt, request.model)
        await admission.decide(attempt)
        # 4 vectors are reserved strictly, before anything is read
        assert attempt.description is not None, "described in step 2"
        unknown = sorted(set(request.taps) - set(attempt.description.taps))
        if unknown:
            known = ", ".join(attempt.description.taps[:3])
            hint = f"taps here are named like {known}"
            raise Invalid(f"there is no tap '{unknown[0][:100]}'", code="unknown_tap", hint=hint)
        await admission.read_prompt(attempt, request.prompt)
        if not 1 <= request.positions <= attempt.prompt_tokens:
            message = f"positions is {request.positions}, the prompt has {attempt.prompt_tokens}"
            hint = "ask for at least one position and at most as many as the prompt has tokens"
            raise Invalid(message, code="bad_positions", hint=hint)
        asked = Asked(taps=len(request.taps), positions=request.positions)
        cost = cost_of(asked, hidden_size=attempt.hidden_size)
        amounts = Amounts(requests=1, tokens=attempt.prompt_tokens, vectors=cost.vectors)
        await admission.reserve(attempt, amounts)
        # 5 and 6
        admission.judge_prompt(attempt, request.prompt)
        await self._closing.begin(attempt)

    async def _begin_fit(self, attempt: Attempt, request: FitRequest) -> None:
        admission = self._admission
        # 1 to 4; the guard's own training set is not judged by the guard (5)
        await admission.authenticate(attempt)
        await admission.find_decision(attempt, request.model or None)
        await admission.decide(attempt)
        await admission.reserve(attempt, Amounts(requests=1))
        # 6
        await self._closing.begin(attempt)

    def _read(self, attempt: Attempt, request: ActivationsRequest) -> Awaitable[Activations]:
        assert attempt.decision is not None, "the decision was found"
        return self._runtime.read_activations(
            ReadActivations(
                id=attempt.inference,
                taps=list(request.taps),
                positions=request.positions,
                chat=list(request.prompt.chat),
                text=request.prompt.text,
                block=attempt.blocking,
                threshold=attempt.decision.guard.threshold,
            )
        )

    async def _run(
        self,
        attempt: Attempt,
        hang_up: HangUp | None,
        answer: Awaitable[_Answer],
        take: Callable[[Letter, Ending], _Answer],
        *,
        limit_s: int | None,
    ) -> tuple[_Answer, Closed] | Stopped:
        """Steps 7 to 11: the answer, once its end is durable; or why there is none."""
        ending = Ending()
        failure: DutchdoorError | None = None
        letter: _Answer | None = None
        try:
            self._life.guard_running(attempt, hang_up, limit_s)
            attempt.mailbox.open(_one(answer))
            letter = take(await attempt.mailbox.next(), ending)
            ending.outcome, ending.reason = Outcome.COMPLETED, "stop"
        except Exception as error:  # Whatever breaks, nothing leaves, and the log says so.
            ending.cost, ending.data = NOTHING, b""
            blocked = isinstance(error, Blocked)
            failure = content_refused(_blocking(error)) if blocked else _ours(error)
            failure = await self._life.explain(attempt, ending, failure)
            if isinstance(error, Blocked):
                ending.verdicts.extend(error.verdicts)
                ending.outcome, ending.reason = Outcome.BLOCKED, "content_filter"
        try:
            closed = await self._life.finish(attempt, ending)
        except DutchdoorError as error:
            return stopped(error, attempt.inference)
        if failure is None and attempt.cut is not None:
            failure = attempt.cut.error  # Cut while the end was being recorded: it stays inside.
        if failure is not None or letter is None:
            assert failure is not None, "there is an answer or a reason"
            return stopped(failure, attempt.inference)
        return letter, closed


async def _one(answer: Awaitable[_Answer]) -> AsyncIterator[_Answer]:
    yield await answer


def _ours(error: Exception) -> DutchdoorError:
    return error if isinstance(error, DutchdoorError) else unexpected(error)


def _broken() -> Unavailable:
    return Unavailable("the runtime's answer is not one", code="runtime_failed", hint="try again")


def _blocking(error: Exception) -> Verdict | None:
    verdicts = error.verdicts if isinstance(error, Blocked) else ()
    return next((verdict for verdict in verdicts if verdict.action is Action.BLOCK), None)
