"""What the runtime's parts say to each other, and the limits of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dutchdoor.errors import DutchdoorError, Invalid, Refused, Unavailable
from dutchdoor.guard.model import Action, Verdict
from dutchdoor.runtime.protocol import Failed, VerdictMessage

__all__ = [
    "Blocked",
    "EngineFacts",
    "RuntimeLimits",
    "error_of",
    "failed",
    "verdict_message",
    "verdict_of",
]


class Blocked(Refused):
    """The guard inside the runtime blocks the prompt; `verdicts` say why."""

    def __init__(self, verdicts: tuple[Verdict, ...]) -> None:
        # No word on what was found or how to ask instead: that would coach a way round.
        hint = "if your purpose needs this, ask the holder of this server for a grant that names it"
        super().__init__("the guard blocks this prompt", code="content_filter", hint=hint)
        self.verdicts = verdicts


PROBE_LABEL = "probe"
"""As what the guard's probe is sealed beside its bundle (`weights.companion`)."""


@dataclass(frozen=True)
class RuntimeLimits:
    """What one request may ask of the runtime, and what the runtime holds at most.

    queue_requests_max: requests that wait for a place in the batch. outgoing_bytes_max: bytes that
    wait for a gateway that does not read; beyond, its connection is closed. amend_prompts_min: of
    an amend test, so that what leaves is an average.
    """

    prompt_tokens_max: int = 2048
    completion_tokens_max: int = 512
    batch_requests_max: int = 8
    queue_requests_max: int = 256
    top_logprobs_max: int = 20
    stops_max: int = 4
    stop_characters_max: int = 256
    logit_biases_max: int = 300
    taps_max: int = 16
    positions_max: int = 64
    hold_back_tokens_max: int = 256
    text_bytes_max: int = 1 << 20
    messages_max: int = 512
    examples_max: int = 20_000
    example_tokens_max: int = 256
    amend_prompts_min: int = 8
    amend_prompts_max: int = 256
    amend_rows_max: int = 512
    amend_points_max: int = 16
    amend_steps_max: int = 512
    amend_openings_max: int = 64
    connections_max: int = 64
    outgoing_bytes_max: int = 64 << 20


@dataclass(frozen=True)
class EngineFacts:
    """What an engine holds. bundle: the digest. probe: the loaded probe's digest, or ""."""

    bundle: str
    model: str
    layers: int
    hidden: int
    vocabulary: int
    context: int
    taps: tuple[str, ...]
    probe: str


def verdict_message(verdict: Verdict) -> VerdictMessage:
    """`verdict` for the wire."""
    return VerdictMessage(
        layer=verdict.layer,
        version=verdict.version,
        action=verdict.action.value,
        score=verdict.score,
        threshold=verdict.threshold,
        categories=list(verdict.categories),
        reasons=list(verdict.reasons),
    )


def verdict_of(message: VerdictMessage) -> Verdict:
    """The verdict that came over the wire."""
    return Verdict(
        layer=message.layer,
        version=message.version,
        action=Action(message.action),
        score=message.score,
        threshold=message.threshold,
        categories=tuple(message.categories),
        reasons=tuple(message.reasons),
    )


def failed(request: str, error: Exception) -> Failed:
    """How `error` ends the request of this id; says nothing of errors that are not ours."""
    if not isinstance(error, DutchdoorError):
        # A traceback may quote a prompt or a tensor: only the class of the error leaves.
        message = f"the runtime failed inside ({type(error).__name__})"
        return Failed(request, "unavailable", "runtime_error", message)
    family: Literal["refused", "invalid", "unavailable"] = "unavailable"
    if isinstance(error, Refused):
        family = "refused"
    elif isinstance(error, Invalid):
        family = "invalid"
    return Failed(request, family, error.code, error.message, error.diagnostics())


_CLASSES: dict[str, type[DutchdoorError]] = {
    "refused": Refused,
    "invalid": Invalid,
    "unavailable": Unavailable,
}


def error_of(message: Failed) -> DutchdoorError:
    """The error that a `Failed` stands for, to be raised on the gateway's side."""
    return _CLASSES[message.family](message.message, code=message.code, hint=message.hint)
