"""How a completion's events become answers, streamed and whole."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple

import msgspec

from dutchdoor.gateway.model import (
    Event,
    Finished,
    InferenceRequest,
    Started,
    Stopped,
    TextDelta,
)
from dutchdoor.runtime.protocol import Token
from dutchdoor.server.errors import problem_of
from dutchdoor.server.http import CallerGone, Exchange
from dutchdoor.server.parts import Parts

__all__ = ["Whole", "collect", "extras", "receipt_header", "stream", "usage_of"]


READY_BYTES_MAX = 16_384


class Whole(NamedTuple):
    """A finished completion."""

    started: Started
    text: str
    tokens: list[Token]
    finished: Finished


class Shapes(NamedTuple):
    """How one route writes its chunks.

    first: the chunks that open a stream. delta: one chunk of text. last: the finishing chunk's
    choice, without usage. name: of the object.
    """

    name: str
    first: Callable[[Started], list[dict[str, Any]]]
    delta: Callable[[TextDelta], dict[str, Any]]
    last: Callable[[Finished], dict[str, Any]]


def usage_of(finished: Finished) -> dict[str, int]:
    """Tokens read and written, as OpenAI names them."""
    usage = finished.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def extras(finished: Finished) -> dict[str, Any]:
    """Our own part of an answer: the inference's name and its receipt."""
    return {
        "inference": finished.inference,
        "entry": finished.done,
        "receipt": finished.receipt,
    }


def receipt_header(finished: Finished) -> tuple[str, str]:
    """The short receipt: where in the log the inference's end lies."""
    return ("dutchdoor-receipt", str(finished.done))


async def collect(
    exchange: Exchange, parts: Parts, key: str, request: InferenceRequest
) -> Whole | Stopped:
    """The whole completion, or why there is none. Raises CallerGone."""
    started: Started | None = None
    text: list[str] = []
    tokens: list[Token] = []
    async with contextlib.aclosing(_events(exchange, parts, key, request)) as events:
        async for event in events:
            if isinstance(event, Started):
                started = event
            elif isinstance(event, TextDelta):
                text.append(event.text)
                tokens.extend(event.tokens)
            elif isinstance(event, Finished):
                assert started is not None, "what finished has started"
                return Whole(started, "".join(text), tokens, event)
            else:
                return event
    raise AssertionError("an inference ends with Finished or Stopped")


async def stream(
    exchange: Exchange,
    parts: Parts,
    key: str,
    request: InferenceRequest,
    shapes: Shapes,
    *,
    include_usage: bool,
) -> None:
    """The completion as server-sent events; an error before the first one is a plain answer."""
    began_s = time.monotonic()
    created = int(time.time())
    head: dict[str, Any] = {}
    # Events that are there at once leave in one write; nobody waits for one that is not there.
    ready = bytearray()
    async with contextlib.aclosing(_events(exchange, parts, key, request)) as events:
        async for event in events:
            if isinstance(event, Started):
                parts.metrics.first_token_seconds.observe(time.monotonic() - began_s)
                head = {
                    "id": event.inference,
                    "object": shapes.name,
                    "created": created,
                    "model": event.model,
                }
                await exchange.start_events([("dutchdoor-inference", event.inference)])
                for choice in shapes.first(event):
                    ready += _event({**head, "choices": [choice]})
            elif isinstance(event, TextDelta):
                ready += _event({**head, "choices": [shapes.delta(event)]})
            elif isinstance(event, Finished):
                ready += _last(head, shapes.last(event), event, include_usage)
                await exchange.send_bytes(bytes(ready))
                await exchange.end()
                continue
            elif exchange.started:
                # The stream has begun: the error is its last event, and no [DONE] follows.
                await exchange.send_event(problem_of(event).data())
                await exchange.end()
                continue
            else:
                await exchange.reply_problem(problem_of(event))
                continue
            if ready and (len(ready) > READY_BYTES_MAX or not exchange.hang_up.more()):
                await exchange.send_bytes(bytes(ready))
                ready.clear()


def _last(
    head: dict[str, Any], choice: dict[str, Any], finished: Finished, include_usage: bool
) -> bytes:
    rest = {"usage": usage_of(finished), "dutchdoor": extras(finished)}
    if include_usage:
        data = _event({**head, "usage": None, "choices": [choice]})
        data += _event({**head, "choices": [], **rest})
    else:
        data = _event({**head, "choices": [choice], **rest})
    return data + b"data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


async def _events(
    exchange: Exchange, parts: Parts, key: str, request: InferenceRequest
) -> AsyncGenerator[Event, None]:
    """The gateway's events, counted; ends early, with CallerGone, where the caller has left."""
    metrics = parts.metrics
    async with (
        exchange.watched(),
        contextlib.aclosing(parts.gateway.infer(key, request, exchange.hang_up)) as events,
    ):
        async for event in events:
            if isinstance(event, Finished):
                metrics.read.inc(event.usage.prompt_tokens)
                metrics.written.inc(event.usage.completion_tokens)
            elif isinstance(event, Stopped):
                metrics.stops.labels(event.code).inc()
                if exchange.hang_up.happened:
                    raise CallerGone
            yield event
