"""Steps 9 to 11: settle, record the end durably, hand out the receipt. Also every refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

from dutchdoor.access.model import Amounts, ContentMode, Reservation
from dutchdoor.errors import DutchdoorError, NotInForce, Unavailable
from dutchdoor.evidence.model import EntryKind, Opening, new_salt
from dutchdoor.gateway.admission import Admission
from dutchdoor.gateway.attempt import Attempt, Ending, begun_body, done_body, refused_body
from dutchdoor.gateway.content import ContentStore
from dutchdoor.gateway.model import Outcome, Stopped, stopped
from dutchdoor.gateway.ports import Evidence, LogView
from dutchdoor.gateway.recorder import Recorder
from dutchdoor.gateway.standing import for_callers

__all__ = ["Closed", "Closing"]

RECENT_ENTRIES = 1_024
"""Between the two entries of an inference: then neither lies further back than memory reaches."""


class Closed(NamedTuple):
    """A recorded end. done: the index of its entry. receipt: JSON values."""

    done: int
    receipt: dict[str, Any]


class Closing:
    """Ends inferences so that budgets, log and caller agree on what happened."""

    def __init__(
        self,
        *,
        admission: Admission,
        evidence: Evidence,
        recorder: Recorder,
        content: ContentStore,
        gateway: str,
    ) -> None:
        self._admission = admission
        self._evidence = evidence
        self._recorder = recorder
        self._content = content
        self._gateway = gateway
        self.unsettled: list[tuple[Reservation, Amounts]] = []
        """Settlements that failed: the full reservation stays taken until they succeed."""

    async def begin(self, attempt: Attempt) -> None:
        """Step 6: `inference_begun`, durable.

        Raises Refused: the log's gate knows that the decision is not in force any more. Raises
        Unavailable: it cannot be recorded. In both cases the reservation is given back.
        """
        body = begun_body(attempt, self._gateway)
        try:
            recorded = await self._recorder.record(EntryKind.INFERENCE_BEGUN, body)
        except NotInForce as error:
            await self.settle(attempt, Amounts())
            raise for_callers(error) from error
        except DutchdoorError:
            await self.settle(attempt, Amounts())
            raise
        attempt.begun = recorded.index

    async def refuse(self, attempt: Attempt, error: DutchdoorError) -> Stopped:
        """The refusal, recorded; where that fails, the failure to record instead.

        Before authentication nothing is known to record: the caller is nobody.
        """
        if attempt.reservation is not None:
            # What the guard refused counts as a request, so that it cannot be probed for free.
            await self.settle(attempt, Amounts(requests=1 if attempt.verdicts else 0))
        if attempt.caller is None:
            return stopped(error)  # No entry bears the inference's name: nothing to quote.
        if error.code == "evidence_unavailable":
            return stopped(error, attempt.inference)
        try:
            body = refused_body(attempt, error)
            await self._recorder.record(EntryKind.INFERENCE_REFUSED, body)
        except DutchdoorError as failure:
            return stopped(failure, attempt.inference)
        return stopped(error, attempt.inference)

    async def close(self, attempt: Attempt, ending: Ending) -> Closed:
        """Steps 9 to 11 of an inference that had begun.

        Raises Unavailable: the end could not be recorded (it is owed), or not proven yet.
        """
        # 9 settle
        tokens = attempt.prompt_tokens + ending.completion_tokens
        cost = ending.cost
        await self.settle(attempt, Amounts(1, tokens, cost.vectors, cost.numbers))
        # 10 `inference_done`, durable; kept content before it, so that the entry never promises
        # content that is not there.
        completion = Opening(new_salt(), ending.content())
        openings = {"prompt": attempt.prompt, "completion": completion}
        lost_content = await self._keep(attempt, openings)
        if lost_content is not None and ending.outcome in {Outcome.COMPLETED, Outcome.BLOCKED}:
            ending = ending.unrecorded(lost_content.code)
            completion = Opening(new_salt(), ending.content())
        body = done_body(attempt, ending, completion)
        left = _Left(attempt, ending)
        try:
            recorded = await self._recorder.record(EntryKind.INFERENCE_DONE, body, owed=left.body)
        except DutchdoorError:
            await self._keep(attempt, {"prompt": attempt.prompt, "completion": left.opening})
            raise
        if lost_content is not None:
            raise lost_content
        # 11 receipt
        receipt = await self.receipt(attempt.begun, recorded.index, openings)
        return Closed(recorded.index, receipt)

    async def receipt(
        self, begun: int, done: int, openings: Mapping[str, Opening] | None = None
    ) -> dict[str, Any]:
        """The proofs that both entries of an inference are in the log, and what opens them.

        openings: known to the caller alone, once; None where they are not known any more.
        Raises Unavailable: the log cannot be read; the proofs can be fetched later.
        """
        seen = self._evidence.seen()
        try:
            if begun <= done < seen.size and done - begun < RECENT_ENTRIES:
                return _receipt(seen, begun, done, openings or {})  # All of it is in memory.
            view = await asyncio.to_thread(self._evidence.view)
            return await asyncio.to_thread(_receipt, view, begun, done, openings or {})
        except (DutchdoorError, OSError) as error:
            message = "the inference is recorded, but its proof cannot be read now"
            hint = "fetch it later from GET /v1/dutchdoor/receipts/{inference}"
            raise Unavailable(message, code="receipt_unavailable", hint=hint) from error

    async def settle(self, attempt: Attempt, used: Amounts) -> None:
        """Give back what was reserved and not used; once."""
        reservation, attempt.reservation = attempt.reservation, None
        if reservation is None:
            return
        access = self._admission.access
        try:
            if not access.settle_at_hand(reservation, used):
                await self._admission.in_thread(access.settle, reservation, used)
        except Exception:  # The reservation stays taken in full: budgets are never overshot.
            self.unsettled.append((reservation, used))

    async def settle_late(self) -> None:
        """Try again what could not be settled."""
        while self.unsettled:
            reservation, used = self.unsettled[0]
            await self._admission.in_thread(self._admission.access.settle, reservation, used)
            self.unsettled.pop(0)

    async def _keep(
        self, attempt: Attempt, openings: Mapping[str, Opening]
    ) -> DutchdoorError | None:
        if attempt.content_mode is not ContentMode.FULL:
            return None
        try:
            await asyncio.to_thread(self._content.keep, attempt.inference, openings)
        except Unavailable as error:
            return error
        return None


class _Left:
    """What is owed where an end cannot be recorded now.

    What waits for the record never leaves: the entry that is written later says that it failed,
    and commits to no more than the caller has.
    """

    def __init__(self, attempt: Attempt, ending: Ending) -> None:
        self._attempt = attempt
        self._ending = ending

    @cached_property
    def opening(self) -> Opening:
        return Opening(new_salt(), self._unrecorded.content())

    @cached_property
    def _unrecorded(self) -> Ending:
        return self._ending.unrecorded("evidence_unavailable")

    def body(self) -> dict[str, Any]:
        return done_body(self._attempt, self._unrecorded, self.opening)


def _receipt(
    view: LogView, begun: int, done: int, openings: Mapping[str, Opening]
) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for name, index, field in (("begun", begun, "prompt"), ("done", done, "completion")):
        if index >= 0:
            opening = {field: openings[field]} if field in openings else None
            rows[name] = view.receipt_value(index, opening)
    return rows
