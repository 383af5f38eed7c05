"""Questions that run no inference: who am I, what is decided, where is my receipt."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import Any

from dutchdoor.access.extraction import vectors_worth
from dutchdoor.access.model import AccessRequest, Amounts, Caller, Grant, Refusal
from dutchdoor.clock import Clock
from dutchdoor.errors import DutchdoorError, NotFound, Unavailable
from dutchdoor.evidence.decision import Decision, Depth
from dutchdoor.gateway.admission import Admission
from dutchdoor.gateway.attempt import new_attempt
from dutchdoor.gateway.closing import Closing
from dutchdoor.gateway.index import InferenceIndex
from dutchdoor.gateway.model import Prompt, RefusedByRule, Route, Stopped
from dutchdoor.gateway.ports import Decisions, Runtime
from dutchdoor.gateway.standing import decision_in_force
from dutchdoor.ids import BundleDigest
from dutchdoor.runtime.protocol import Description, Tokenized

__all__ = ["Desk", "GrantLeft", "Model", "Myself"]

_INFERENCE = re.compile(r"inf_[0-9a-z]{26}")


@dataclass(frozen=True)
class Model:
    """A model that the caller may see. decided_ms: from when its decision is in force."""

    name: str
    decided_ms: int


@dataclass(frozen=True)
class GrantLeft:
    """A grant and what was used of it. vectors_used: whole ones, single numbers counted in."""

    grant: Grant
    used: Amounts
    vectors_used: int


@dataclass(frozen=True)
class Myself:
    """What a caller may know of themselves. released, vectors_max, hidden: the bundle's pool."""

    caller: Caller
    grants: tuple[GrantLeft, ...]
    depths: frozenset[Depth]
    released: int
    vectors_max: int
    hidden: int


class Desk:
    """Answers questions of people that it knows, and of the status page."""

    def __init__(
        self,
        *,
        admission: Admission,
        closing: Closing,
        decisions: Decisions,
        runtime: Runtime,
        index: InferenceIndex,
        clock: Clock,
        bundle: str = "",
    ) -> None:
        self._bundle = bundle
        self._admission = admission
        self._closing = closing
        self._decisions = decisions
        self._runtime = runtime
        self._index = index
        self._clock = clock

    async def caller(self, key: str) -> Caller:
        """Who holds `key` (unverified). Raises Refused, Unavailable."""
        return await self._admission.in_thread(self._admission.access.authenticate, key)

    async def description(self) -> Description:
        """What the runtime holds. Raises Unavailable: it is down."""
        return await self._runtime.describe()

    async def decision(self) -> Decision:
        """The decision in force for what is served here. Raises NotInForce, Unavailable."""
        bundle = self._bundle or (await self.description()).bundle
        return decision_in_force(self._decisions, bundle, self._clock.now_ms()).decision

    async def released(self, bundle: str) -> int:
        """The independent vectors released of `bundle`, over all people. Raises Unavailable."""
        access = self._admission.access
        return await self._admission.in_thread(access.released, BundleDigest(bundle))

    async def models(self, key: str) -> list[Model]:
        """The models that the caller may see: those whose decision lets them in.

        Raises Refused: nobody knows the key. Raises NotInForce, Unavailable.
        """
        caller = await self.caller(key)
        decision = await self.decision()
        request = AccessRequest(
            caller=caller,
            action="list_models",
            bundle=decision.bundle,
            decision=decision.id,
            level=str(decision.level),
            stage=decision.stage,
            depths=frozenset(),
            audience_depths=decision.depths_for(caller.person.audience, caller.person.id),
        )
        answer = await self._admission.in_thread(self._admission.access.decide, request)
        if isinstance(answer, Refusal):
            raise RefusedByRule(answer)
        return [Model(decision.model, decision.not_before_ms)]

    async def myself(self, key: str) -> Myself:
        """The caller, their grants and budgets, and the pool of the model served here.

        Raises Refused: nobody knows the key. Raises Unavailable.
        """
        caller = await self.caller(key)
        decision = None
        # Without a decision, or a runtime, people may still ask what they were granted.
        with contextlib.suppress(DutchdoorError):
            decision = await self.decision()
        access, person = self._admission.access, caller.person
        hidden = decision.hidden_size if decision is not None else 0

        def read() -> tuple[tuple[GrantLeft, ...], int]:
            left = []
            for grant in access.list_grants(person.id):
                used = access.used(grant.id)
                vectors = vectors_worth(used.vectors, used.numbers, hidden or 1)
                left.append(GrantLeft(grant, used, vectors))
            released = access.released(decision.bundle) if decision is not None else 0
            return tuple(left), released

        grants, released = await self._admission.in_thread(read)
        depths = decision.depths_for(person.audience, person.id) if decision else frozenset()
        return Myself(
            caller=caller,
            grants=grants,
            depths=depths,
            released=released,
            vectors_max=decision.vectors_max if decision else 0,
            hidden=hidden,
        )

    async def tokenize(self, key: str, model: str, prompt: Prompt) -> Tokenized | Stopped:
        """The prompt's tokens; needs sampling, like the inference it prepares."""
        attempt = new_attempt(
            key, Route.TOKENIZE, prompt, depths=frozenset({Depth.SAMPLING}), action="infer"
        )
        try:
            await self._admission.authenticate(attempt)
            await self._admission.find_decision(attempt, model)
            await self._admission.decide(attempt)
            return await self._admission.read_prompt(attempt, prompt)
        except DutchdoorError as error:
            return await self._closing.refuse(attempt, error)

    async def receipt(self, key: str, inference: str) -> dict[str, Any]:
        """The proofs of one of the caller's own inferences, without what opens it.

        Raises NotFound: there is none of this name that is theirs (nobody learns of others').
        """
        caller = await self.caller(key)
        missing = NotFound(
            "you have no inference of this name",
            code="inference_not_found",
            hint="take the name from 'dutchdoor.inference' of an answer or an error",
        )
        if not _INFERENCE.fullmatch(inference):
            raise missing
        try:
            await asyncio.to_thread(self._index.follow)
        except Exception as error:
            hint = "try again later"
            message = "the evidence log cannot be read"
            raise Unavailable(message, code="evidence_unavailable", hint=hint) from error
        place = self._index.place(inference)
        if place is None or place.person != caller.person.id:
            raise missing
        return await self._closing.receipt(place.begun, place.end)
