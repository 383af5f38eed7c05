"""What goes into one inference and what comes out of it, step by step."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from dutchdoor import canonical
from dutchdoor.access.extraction import Asked
from dutchdoor.access.model import Refusal
from dutchdoor.errors import DutchdoorError, NotFound, Refused, Unavailable
from dutchdoor.evidence.decision import Depth
from dutchdoor.ids import InferenceId
from dutchdoor.runtime.protocol import Amend, ChatMessage, LabelledText, Token

__all__ = [
    "ActivationsRead",
    "ActivationsRequest",
    "AmendRead",
    "AmendRequest",
    "Event",
    "Finished",
    "FitRequest",
    "InferenceRequest",
    "Outcome",
    "ProbeRead",
    "Prompt",
    "RefusedByGuard",
    "RefusedByRule",
    "Route",
    "Sampling",
    "Started",
    "Stopped",
    "TextDelta",
    "Usage",
    "depths_needed",
    "drawn",
    "shown_at_most",
    "stopped",
    "unexpected",
]


class Route(StrEnum):
    """The door an inference came through; recorded with it."""

    CHAT = "chat_completions"
    COMPLETIONS = "completions"
    ACTIVATIONS = "activations"
    GUARD_FIT = "guard_fit"
    AMEND = "audit_amend"
    TOKENIZE = "tokenize"


class Outcome(StrEnum):
    """How a begun inference ended, as its entry says."""

    COMPLETED = "completed"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"
    FAILED = "failed"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Prompt:
    """What the model is to read: exactly one of a conversation, a text, and token ids."""

    chat: tuple[ChatMessage, ...] = ()
    text: str | None = None
    token_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        given = (bool(self.chat), self.text is not None, self.token_ids is not None)
        assert sum(given) == 1, "exactly one kind of prompt"

    def to_bytes(self) -> bytes:
        """The canonical bytes that the prompt's commitment is over.

        Raises Invalid: the prompt has no canonical form (a lone surrogate).
        """
        if self.chat:
            turns = [{"role": turn.role, "content": turn.content} for turn in self.chat]
            return canonical.encode({"chat": turns})
        if self.text is not None:
            return canonical.encode({"text": self.text})
        return canonical.encode({"token_ids": list(self.token_ids or ())})


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    tokens_max: at most so many; None takes the configured default. logprobs: alternatives a
    token, -1 for no logprobs at all. echo: give the prompt's tokens back too.
    """

    tokens_max: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int = -1
    echo: bool = False


@dataclass(frozen=True)
class InferenceRequest:
    """One completion asked for. model: the name the caller gave."""

    route: Route
    model: str
    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True)
class ActivationsRequest:
    """Hidden vectors asked for: `len(taps) * positions` of them, counted before they are read."""

    model: str
    prompt: Prompt
    taps: tuple[str, ...]
    positions: int


@dataclass(frozen=True)
class ProbeRead:
    """A fitted probe, sealed to its bundle, and its card. Nobody but the runtime can open it."""

    inference: InferenceId
    sealed: bytes
    digest: str
    card: bytes
    done: int
    receipt: dict[str, Any]


@dataclass(frozen=True)
class FitRequest:
    """A fitting of the guard's probe, asked for by the audit."""

    model: str
    examples: tuple[LabelledText, ...]
    seed: int = 0


@dataclass(frozen=True)
class AmendRequest:
    """An amend test, asked for by the audit. depth: `audit` or `fine_tuning`."""

    model: str
    work: Amend
    depth: Depth = Depth.AUDIT


@dataclass(frozen=True)
class AmendRead:
    """What one way to modify the model does: one curve of figures (canonical JSON)."""

    inference: InferenceId
    curve: bytes
    done: int
    receipt: dict[str, Any]


@dataclass(frozen=True)
class Usage:
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Started:
    """The prompt was judged and recorded, and the runtime accepted it: tokens follow.

    begun: the index of the durable entry `inference_begun`.
    """

    inference: InferenceId
    model: str
    begun: int
    prompt_tokens: int


@dataclass(frozen=True)
class TextDelta:
    """Judged tokens that may leave, in order; `text` is their text."""

    text: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class Finished:
    """The end, after `inference_done` is durable.

    reason: `stop`, `length` or `content_filter`. receipt: JSON values, see the receipt's spec.
    """

    inference: InferenceId
    reason: str
    usage: Usage
    done: int
    receipt: dict[str, Any]


@dataclass(frozen=True)
class Stopped:
    """The end, where something said no or broke; before `Started` or in the middle.

    family: as in `errors.py` (`refused`, `invalid`, `unavailable`, `not_found`). rule: the
    policy or budget that decided; empty where the guard did. missing: what would have to be there.
    """

    family: str
    code: str
    message: str
    hint: str = ""
    rule: str = ""
    missing: tuple[str, ...] = ()
    inference: str = ""


Event = Started | TextDelta | Finished | Stopped


@dataclass(frozen=True)
class ActivationsRead:
    """Hidden vectors, released and recorded.

    data: float32 little-endian, [taps, positions, hidden] in C order. vectors_released: of the
    bundle, over all people, after this.
    """

    inference: InferenceId
    model: str
    taps: tuple[str, ...]
    positions: int
    hidden: int
    data: bytes
    prompt_tokens: int
    vectors_released: int
    vectors_max: int
    done: int
    receipt: dict[str, Any]


class RefusedByRule(Refused):
    """A refusal that names the rule that decided and what is missing.

    rule: for the record. told_rule: for the caller.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message, code=refusal.code, hint=refusal.hint)
        self.rule = refusal.rule
        self.told_rule = refusal.rule
        self.missing = refusal.missing
        self.grant = refusal.grant


class RefusedByGuard(RefusedByRule):
    """The guard's refusal of a prompt; its rule is for the record, never for the caller.

    Which layer and which rule spoke would tell an attacker how close they are.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.told_rule = ""


def unexpected(error: Exception) -> Unavailable:
    """A mistake of ours as an error that can be told and recorded.

    Says where it broke to the process's own log, and never the error's text: it may quote a prompt.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "nowhere"
    logging.getLogger("dutchdoor.gateway").error("%s at %s", type(error).__name__, where)
    return Unavailable(
        "something went wrong in the gateway",
        code="internal_error",
        hint="tell the operator when it happened; nothing unrecorded was released",
    )


def stopped(error: DutchdoorError, inference: str = "") -> Stopped:
    """`error` as the last event of an inference."""
    return Stopped(
        family="not_found" if isinstance(error, NotFound) else error.family,
        code=error.code,
        message=error.message,
        hint=error.hint,
        rule=getattr(error, "told_rule", ""),
        missing=tuple(getattr(error, "missing", ())),
        inference=inference,
    )


def depths_needed(request: InferenceRequest) -> frozenset[Depth]:
    """The depths that a completion needs: the shallowest set that covers what it asks for.

    Temperature, top_p, seed, penalties and stops are ordinary sampling. Decoding control is
    whatever steers the model past its template: a bias on tokens, and a prompt that writes the
    assistant's turn itself (a conversation ending in an assistant turn, raw text, raw tokens).
    A bias together with logprobs reads any logit one likes, so it counts as logits.
    """
    depths = {Depth.SAMPLING}
    prompt, sampling = request.prompt, request.sampling
    prefilled = bool(prompt.chat) and prompt.chat[-1].role == "assistant"
    if sampling.logit_bias or prefilled or not prompt.chat:
        depths.add(Depth.DECODING_CONTROL)
    if sampling.logprobs >= 0:
        depths.add(Depth.LOGPROBS)
        if sampling.logit_bias:
            depths.add(Depth.LOGITS)
    return frozenset(depths)


def shown_at_most(request: InferenceRequest, *, prompt_tokens: int, tokens_max: int) -> Asked:
    """All that a completion can show of the model's linear maps, for the extraction accountant.

    prompt_tokens: of the prompt as the model reads it. tokens_max: that may be written.
    """
    sampling, asked = request.sampling, drawn(request, tokens=tokens_max)
    if sampling.logprobs < 0:
        return asked
    # At each position the likeliest ones, and the token's own.
    rows = tokens_max + (prompt_tokens if sampling.echo else 0)
    return replace(asked, rows=rows, row_numbers=sampling.logprobs + 1)


def drawn(request: InferenceRequest, *, tokens: int) -> Asked:
    """What the draws of a completion tell by themselves, once `tokens` tokens were written.

    That the answer ended, and where, is a draw as well.
    """
    sampling = request.sampling
    return Asked(
        draws=tokens + 1,
        biases=len(sampling.logit_bias),
        penalised=sampling.frequency_penalty != 0 or sampling.presence_penalty != 0,
    )
