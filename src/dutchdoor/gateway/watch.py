"""What has to stay true while inferences run: the decision, the grant, the key, the log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from dutchdoor.access.model import Refusal
from dutchdoor.clock import Clock
from dutchdoor.errors import DutchdoorError, NotInForce, Unavailable
from dutchdoor.evidence.decision import Decision
from dutchdoor.gateway.admission import Admission
from dutchdoor.gateway.attempt import Attempt
from dutchdoor.gateway.index import InferenceIndex
from dutchdoor.gateway.model import Outcome, RefusedByRule
from dutchdoor.gateway.ports import Decisions
from dutchdoor.gateway.recorder import Recorder
from dutchdoor.gateway.standing import decision_in_force

__all__ = ["Watch"]

DECISION_POLL_S = 0.05
ACCESS_POLL_S = 0.25
CALLERS_POLL_S = 0.05
OWED_POLL_S = 1.0


class Watch:
    """Follows the log and access, and cuts what may not run any more, within a second."""

    def __init__(
        self,
        *,
        decisions: Decisions,
        admission: Admission,
        index: InferenceIndex,
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self._decisions = decisions
        self._admission = admission
        self._index = index
        self._recorder = recorder
        self._clock = clock
        self._running: dict[str, Attempt] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.trouble: DutchdoorError | None = None
        """Why the log cannot be followed; while it stands, nothing new begins."""
        self.idle = asyncio.Event()
        """Set while nothing runs."""
        self.idle.set()
        recorder.on_failure(lambda error: self.cut_all(error, Outcome.FAILED))

    @property
    def running(self) -> list[Attempt]:
        """The inferences that run now."""
        return list(self._running.values())

    @property
    def running_count(self) -> int:
        """How many inferences run now."""
        return len(self._running)

    def enter(self, attempt: Attempt) -> None:
        """Watch over `attempt` from now on."""
        self._running[attempt.inference] = attempt
        self.idle.clear()

    def leave(self, attempt: Attempt) -> None:
        """`attempt` has ended."""
        self._running.pop(attempt.inference, None)
        if not self._running:
            self.idle.set()

    def cut_all(self, error: DutchdoorError, outcome: Outcome) -> None:
        """End everything that runs, for one reason."""
        for attempt in self.running:
            attempt.cut_off(error, outcome)

    def start(self, *late: Callable[[], Awaitable[None]]) -> None:
        """Begin to watch. late: what is to be tried again every second."""
        for each, pause_s in (
            (self.follow_log, DECISION_POLL_S),
            (self._check_access, ACCESS_POLL_S),
            (self._follow_access, CALLERS_POLL_S),
            (self.pay, OWED_POLL_S),
            *((step, OWED_POLL_S) for step in late),
        ):
            self._tasks.append(asyncio.create_task(_repeat(each, pause_s)))

    async def stop(self) -> None:
        """Watch no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def follow_log(self) -> None:
        """Take in what was added to the log, and cut what has lost its decision by it.

        Raises Unavailable: the log cannot be followed; then everything that runs is cut.
        """
        try:
            await asyncio.to_thread(self._read_log)
        except Exception as error:  # A log we cannot follow may hold a revocation: stop, closed.
            self.trouble = Unavailable(
                "the evidence log cannot be followed",
                code="evidence_unavailable",
                hint="run 'dutchdoor evidence verify' and look at the log's disk",
            )
            self.cut_all(self.trouble, Outcome.FAILED)
            raise self.trouble from error
        self.trouble = None
        for attempt in self.running:
            reason = self._lost_decision(attempt)
            if reason is not None:
                attempt.cut_off(reason, Outcome.REVOKED)

    def decision_now(self, bundle: str) -> Decision:
        """The decision in force by what was followed. Raises NotInForce: none is."""
        return decision_in_force(self._decisions, bundle, self._clock.now_ms()).decision

    async def why(self, attempt: Attempt, error: DutchdoorError) -> DutchdoorError:
        """The reason behind `error`.

        The supervisor closes the runtime when the decision ends, and may have read the log before
        us: a runtime that went down is looked into before anybody is told that it broke.
        """
        if error.code != "runtime_down" or not attempt.bundle:
            return error
        with contextlib.suppress(Exception):
            # Where the log cannot be followed, what runs is cut for that, this one too.
            await self.follow_log()
        if attempt.cut is not None:
            return attempt.cut.error
        reason = self._lost_decision(attempt)
        if reason is None:
            return error
        attempt.cut_off(reason, Outcome.REVOKED)
        return reason

    def _read_log(self) -> None:
        self._decisions.refresh()
        self._index.follow()

    def _lost_decision(self, attempt: Attempt) -> DutchdoorError | None:
        decision: Decision | None = attempt.decision
        try:
            now = decision_in_force(self._decisions, attempt.bundle, self._clock.now_ms()).decision
        except NotInForce as error:
            return error
        if decision is None or (now.id, now.stage) == (decision.id, decision.stage):
            return None
        if now.id == decision.id:
            return _narrow(attempt, now)
        message = "another release decision has come into force while this ran"
        return NotInForce(message, code="decision_superseded", hint="send the request again")

    async def _follow_access(self) -> None:
        await self._admission.in_thread(self._admission.access.follow)

    async def _check_access(self) -> None:
        running = self.running
        reasons = await self._admission.in_thread(lambda: [self._lost_access(a) for a in running])
        for attempt, reason in zip(running, reasons, strict=True):
            if reason is not None:
                attempt.cut_off(reason, Outcome.REVOKED)

    def _lost_access(self, attempt: Attempt) -> DutchdoorError | None:
        """Why this could not begin now: the key, the person, the grant, its dates, a policy."""
        access, allowed, asked = self._admission.access, attempt.allowed, attempt.asked
        assert allowed is not None, "what runs was allowed"
        assert asked is not None, "what runs was allowed"
        try:
            refusal = access.revoked(allowed.grant.id, asked.caller.key)
            answer = access.decide(asked) if refusal is None else refusal
        except Exception:  # Access cannot be asked: what it would say is not known, so stop.
            message = "access cannot be checked"
            return Unavailable(message, code="access_unavailable", hint="try again later")
        return RefusedByRule(answer) if isinstance(answer, Refusal) else None

    async def pay(self) -> None:
        """Write the ends that are owed. Raises Unavailable, Tampered: the log cannot be read."""
        if self._recorder.owed:
            await asyncio.to_thread(self._read_log)
            await self._recorder.pay(self._index.ended)


def _narrow(attempt: Attempt, now: Decision) -> DutchdoorError | None:
    """Go on in the earlier stage to which the decision fell back, or why that cannot be."""
    asked = attempt.asked
    assert asked is not None, "what runs was allowed"
    person = asked.caller.person
    opened = now.depths_for(person.audience, person.id)
    if not attempt.depths <= opened:
        message = "the release decision fell back to an earlier stage while this ran"
        hint = "that stage does not open this to you; ask the holder of this server"
        return NotInForce(message, code="stage_rolled_back", hint=hint)
    attempt.decision = now
    attempt.asked = replace(asked, level=str(now.level), stage=now.stage, audience_depths=opened)
    return None


async def _repeat(step: Callable[[], Awaitable[None]], pause_s: float) -> None:
    while True:
        # Each step fails closed by itself; the watch goes on, so that it sees the recovery too.
        with contextlib.suppress(Exception):
            await step()
        await asyncio.sleep(pause_s)
