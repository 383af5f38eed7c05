"""Watches that what runs is what was decided; where it is not, nothing is served.

The rules, the custody and the settings of the runtime are looked at every second. The supervisor
looks too, and closes the runtime; the reason is told from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from dutchdoor.errors import DutchdoorError, NotInForce, Unavailable
from dutchdoor.gateway.model import Outcome
from dutchdoor.gateway.ports import Enforcement, Runtime
from dutchdoor.gateway.watch import Watch

__all__ = ["EnforcementWatch"]


class EnforcementWatch:
    """trouble: why nothing is served, or None."""

    def __init__(
        self, enforcement: Enforcement | None, runtime: Runtime, watch: Watch, bundle: str
    ) -> None:
        """enforcement: None where there is nothing to compare with."""
        self._enforcement = enforcement
        self._runtime = runtime
        self._watch = watch
        self._bundle = bundle
        self._one = asyncio.Lock()
        self.trouble: DutchdoorError | None = None

    async def follow(self) -> None:
        """Look once. Raises nothing of ours: `trouble` says what was found."""
        if self._enforcement is None:
            return
        async with self._one:
            trouble = await self._look(self._enforcement)
        if trouble is not None and (self.trouble is None or self.trouble.code != trouble.code):
            # For the operator: callers hear the code and the place, no more.
            told = f"{trouble.message} [{trouble.code}]"
            logging.getLogger("dutchdoor.gateway").warning("stopped: %s", told)
        self.trouble = trouble
        if trouble is not None:
            self._watch.cut_all(trouble, Outcome.REVOKED)

    async def why(self, error: DutchdoorError) -> DutchdoorError:
        """The reason behind `error`: the supervisor may have closed the runtime for it first."""
        if error.code != "runtime_down":
            return error
        await self.follow()
        return self.trouble or error

    async def _look(self, enforcement: Enforcement) -> DutchdoorError | None:
        try:
            decision = self._watch.decision_now(self._bundle)
        except NotInForce:
            return None  # Nothing is served, and callers hear why.
        description = None
        with contextlib.suppress(DutchdoorError):
            description = await self._runtime.describe()
        try:
            await asyncio.to_thread(enforcement.check, decision, description, patient=True)
        except DutchdoorError as error:
            return error
        except Exception:
            message = "it cannot be said whether what runs is what was decided"
            hint = "the operator sees more with 'dutchdoor release diff'"
            return Unavailable(message, code="enforcement_unknown", hint=hint)
        return None
