"""What is known of one inference while it goes through the gateway, and its entries' bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from dutchdoor.access.extraction import NOTHING, Cost
from dutchdoor.access.model import (
    AccessRequest,
    Allowed,
    Amounts,
    Caller,
    ContentMode,
    Reservation,
)
from dutchdoor.errors import DutchdoorError
from dutchdoor.evidence.decision import Decision, Depth
from dutchdoor.evidence.model import Opening, commit, new_salt
from dutchdoor.gateway.mailbox import Mailbox
from dutchdoor.gateway.model import Outcome, Prompt, Route
from dutchdoor.guard.model import Verdict
from dutchdoor.ids import InferenceId, new_inference_id
from dutchdoor.runtime.protocol import Description

__all__ = [
    "Attempt",
    "Cut",
    "Ending",
    "HangUp",
    "begun_body",
    "done_body",
    "new_attempt",
    "refused_body",
]


class Cut(NamedTuple):
    """Why a running inference is ended from outside, and the outcome that its entry will name."""

    error: DutchdoorError
    outcome: Outcome


class HangUp:
    """How a caller's own side says that the caller is gone."""

    def __init__(self) -> None:
        self.happened = False
        self.more: Callable[[], bool] = lambda: False
        """Whether the next event is there already, so that both can leave together."""
        self._listener: Callable[[], None] | None = None

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` when it happens; at once, if it has."""
        self._listener = listener
        if self.happened:
            listener()

    def now(self) -> None:
        """The caller is gone."""
        if not self.happened:
            self.happened = True
            if self._listener is not None:
                self._listener()


@dataclass
class Attempt:
    """One inference on its way; each step fills in what it found, a refusal records that much.

    action: what the policies are asked about. amounts: what the budgets are asked for, once known.
    key: the caller's API key, unverified; forgotten once it is verified. blocking: False only
    under a grant that may observe.
    """

    inference: InferenceId
    route: Route
    action: str
    depths: frozenset[Depth]
    prompt: Opening
    key: str = field(repr=False, default="")
    caller: Caller | None = None
    decision: Decision | None = None
    decision_index: int = -1
    description: Description | None = None
    bundle: str = ""
    asked: AccessRequest | None = None
    allowed: Allowed | None = None
    blocking: bool = True
    prompt_text: str = field(repr=False, default="")
    prompt_tokens: int = 0
    reservation: Reservation | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    begun: int = -1
    mailbox: Mailbox = field(default_factory=Mailbox)
    cut: Cut | None = None
    deadline: asyncio.TimerHandle | None = None

    @property
    def hidden_size(self) -> int:
        """How wide the model is, to count vectors by: what the decision or the runtime says,
        whichever is less, so that a wrong figure makes nothing cheaper."""
        assert self.decision is not None, "the decision was found first"
        assert self.description is not None, "described first"
        return min(self.decision.hidden_size, self.description.hidden)

    @property
    def content_mode(self) -> ContentMode:
        """What is kept of the content."""
        assert self.allowed is not None, "known once the grant is found"
        return self.allowed.grant.content_mode

    def cut_off(self, error: DutchdoorError, outcome: Outcome) -> None:
        """End it from outside; the first reason stays."""
        if self.cut is None:
            self.cut = Cut(error, outcome)
            self.mailbox.cut_off(error)


class Waiting(NamedTuple):
    """How much had left when the rest began to wait for the end's record."""

    pieces: int
    tokens: int
    cost: Cost


@dataclass
class Ending:
    """How an inference ended, collected while it runs. released: text that left, in order.

    completion_tokens: that the runtime is known to have made; at least those that left. cost: of
    what left, as the extraction accountant counts it. data: an
    answer that leaves all at once, after the end's record. waiting: see `hold_rest`.
    """

    outcome: Outcome = Outcome.CANCELLED
    reason: str = ""
    code: str = ""
    completion_tokens: int = 0
    released_tokens: int = 0
    cost: Cost = NOTHING
    released: list[str] = field(default_factory=list)
    data: bytes | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    waiting: Waiting | None = None

    def hold_rest(self) -> None:
        """What is released from now on leaves only after the end is durable."""
        if self.waiting is None:
            self.waiting = Waiting(len(self.released), self.released_tokens, self.cost)

    def unrecorded(self, code: str) -> Ending:
        """How it ended for the caller where the end could not be recorded in time: what waited
        for the record stayed inside, so it failed, with no more than what had left by then."""
        kept = self.waiting or Waiting(len(self.released), self.released_tokens, self.cost)
        at_once = self.data is not None
        return replace(
            self,
            outcome=Outcome.FAILED,
            code=code,
            released=self.released[: kept.pieces],
            released_tokens=kept.tokens,
            cost=NOTHING if at_once else kept.cost,
            data=b"" if at_once else None,
            waiting=None,
        )

    def content(self) -> bytes:
        """The bytes that the completion's commitment is over: what left, exactly."""
        return self.data if self.data is not None else "".join(self.released).encode()


def new_attempt(
    key: str, route: Route, prompt: Prompt | bytes, *, depths: frozenset[Depth], action: str
) -> Attempt:
    """A fresh attempt under a fresh id.

    prompt: or the bytes that stand for it in the commitment.
    Raises Invalid: the prompt has no canonical form.
    """
    content = prompt if isinstance(prompt, bytes) else prompt.to_bytes()
    opening = Opening(new_salt(), content)
    return Attempt(new_inference_id(), route, action, depths, opening, key=key)


def begun_body(attempt: Attempt, gateway: str) -> dict[str, Any]:
    """The body of `inference_begun`: who, under what, and a commitment to the prompt.

    gateway: the name of the process, so that another does not declare the inference lost.
    """
    assert attempt.reservation is not None, "reserved before it begins"
    return {
        **_who(attempt),
        "gateway": gateway,
        "rule": attempt.allowed.rule if attempt.allowed is not None else "",
        "monitor": "block" if attempt.blocking else "observe",
        "content_mode": str(attempt.content_mode),
        "prompt": commit(attempt.prompt),
        "prompt_tokens": attempt.prompt_tokens,
        "reserved": _amounts(attempt.reservation.amounts),
        # What the text rules said of the prompt; the runtime's verdicts come with the end.
        "verdict": attempt.verdicts[-1].to_body() if attempt.verdicts else {},
    }


def done_body(attempt: Attempt, ending: Ending, completion: Opening) -> dict[str, Any]:
    """The body of `inference_done`: how it ended, what left, and a commitment to that."""
    return {
        "inference": attempt.inference,
        "begun": attempt.begun,
        "outcome": str(ending.outcome),
        "reason": ending.reason,
        "code": ending.code,
        "completion": commit(completion),
        "counts": {
            "prompt_tokens": attempt.prompt_tokens,
            "completion_tokens": ending.completion_tokens,
            "released_tokens": ending.released_tokens,
            "released_bytes": len(completion.content),
            "vectors": ending.cost.vectors,
            "numbers": ending.cost.numbers,
        },
        "verdicts": [verdict.to_body() for verdict in ending.verdicts],
    }


def refused_body(attempt: Attempt, error: DutchdoorError) -> dict[str, Any]:
    """The body of `inference_refused`: who, what was asked, and the rule that said no."""
    return {
        **_who(attempt),
        "code": error.code,
        "rule": getattr(error, "rule", ""),
        "missing": list(getattr(error, "missing", ())),
        "prompt": commit(attempt.prompt),
        "verdicts": [verdict.to_body() for verdict in attempt.verdicts],
    }


def _who(attempt: Attempt) -> dict[str, Any]:
    grant = attempt.allowed.grant.id if attempt.allowed is not None else ""
    return {
        "inference": attempt.inference,
        "route": str(attempt.route),
        "person": attempt.caller.person.id if attempt.caller else "",
        "key": attempt.caller.key if attempt.caller else "",
        "bundle": attempt.bundle,
        "decision": attempt.decision.id if attempt.decision else "",
        "decision_index": attempt.decision_index,
        "grant": grant,
        "depths": sorted(str(depth) for depth in attempt.depths),
    }


def _amounts(amounts: Amounts) -> dict[str, int]:
    return {
        "requests": amounts.requests,
        "tokens": amounts.tokens,
        "vectors": amounts.vectors,
        "numbers": amounts.numbers,
    }
