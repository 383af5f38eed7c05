"""The amend test through the gateway: admitted and recorded like an inference, figures alone leave.

The same eleven steps as a fitting of the probe; the depth asked for is `audit` or `fine_tuning`.
"""

from __future__ import annotations

import msgspec

from dutchdoor.access.model import Amounts
from dutchdoor.errors import DutchdoorError, Unavailable
from dutchdoor.gateway.attempt import Attempt, Ending, HangUp, new_attempt
from dutchdoor.gateway.mailbox import Letter
from dutchdoor.gateway.model import AmendRead, AmendRequest, Route, Stopped, stopped, unexpected
from dutchdoor.gateway.reading import Reading
from dutchdoor.runtime.protocol import Amended

__all__ = ["AMEND_S_MAX", "Amending"]

AMEND_S_MAX = 3600
CURVE_BYTES_MAX = 64 << 10


class Amending(Reading):
    """Amend tests. Everything here runs in a task that nobody's leaving cancels."""

    async def amend(
        self, key: str, request: AmendRequest, hang_up: HangUp | None
    ) -> AmendRead | Stopped:
        """The curve of one way to modify the model, measured on a copy inside the runtime."""
        work = request.work
        try:
            self._life.check_room()
            # What was asked is committed to as a whole: rows, prompts, points and seed.
            attempt = new_attempt(
                key,
                Route.AMEND,
                msgspec.json.encode(work, order="deterministic"),
                depths=frozenset({request.depth}),
                action="amend",
            )
        except DutchdoorError as error:
            return stopped(error)
        try:
            await self._begin_amend(attempt, request)  # steps 1 to 6
        except Exception as error:
            ours = error if isinstance(error, DutchdoorError) else unexpected(error)
            return await self._closing.refuse(attempt, ours)

        def take(letter: Letter, ending: Ending) -> Amended:
            if not isinstance(letter, Amended) or len(letter.curve) > CURVE_BYTES_MAX:
                message = "the runtime's answer is not a curve"
                raise Unavailable(message, code="runtime_failed", hint="try again")
            ending.data = letter.curve
            return letter

        asked = msgspec.structs.replace(work, id=attempt.inference)
        outcome = await self._run(
            attempt, hang_up, self._runtime.amend(asked), take, limit_s=AMEND_S_MAX
        )
        if isinstance(outcome, Stopped):
            return outcome
        letter, closed = outcome
        return AmendRead(
            inference=attempt.inference,
            curve=letter.curve,
            done=closed.done,
            receipt=closed.receipt,
        )

    async def _begin_amend(self, attempt: Attempt, request: AmendRequest) -> None:
        admission = self._admission
        # 1 to 4; what is scored is the audit's own set, so the guard does not judge it (5)
        await admission.authenticate(attempt)
        await admission.find_decision(attempt, request.model or None)
        await admission.decide(attempt)
        await admission.reserve(attempt, Amounts(requests=1))
        # 6
        await self._closing.begin(attempt)
