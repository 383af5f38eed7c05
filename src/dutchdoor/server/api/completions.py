"""`POST /v1/completions`: raw text or token ids, with logprobs in the legacy shape."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from dutchdoor.gateway.model import Finished, Started, Stopped, TextDelta
from dutchdoor.runtime.protocol import Token
from dutchdoor.server.api.requests import parse_completions
from dutchdoor.server.api.serving import (
    Shapes,
    Whole,
    collect,
    extras,
    receipt_header,
    stream,
    usage_of,
)
from dutchdoor.server.api.tools import about_tools
from dutchdoor.server.errors import BadRequest, problem_of
from dutchdoor.server.http import Exchange
from dutchdoor.server.parts import Parts

__all__ = ["completions", "legacy_logprobs", "name_of"]


async def completions(exchange: Exchange, parts: Parts) -> None:
    """A completion of each prompt, one inference each, in their order."""
    key = exchange.key()
    limits = parts.config.limits
    body = await exchange.body(limits.request_bytes_max)
    try:
        requests, asked = parse_completions(body, limits)
    except BadRequest as error:
        raise await about_tools(parts, error) from error
    if asked.stream:
        options = asked.stream_options
        shapes = _shapes(asked.logprobs is not None)
        usage = options is not None and options.include_usage
        await stream(exchange, parts, key, requests[0], shapes, include_usage=usage)
        return
    wholes: list[Whole] = []
    for request in requests:
        whole = await collect(exchange, parts, key, request)
        if isinstance(whole, Stopped):
            # One answer for all: those that ran before it are recorded, their receipts wait.
            await exchange.reply_problem(problem_of(whole))
            return
        wholes.append(whole)
    await exchange.reply_json(
        _answer(wholes, logprobs=asked.logprobs is not None),
        headers=[receipt_header(wholes[-1].finished)],
    )


def _answer(wholes: Sequence[Whole], *, logprobs: bool) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "text": whole.text,
            "logprobs": legacy_logprobs(whole.tokens, 0) if logprobs else None,
            "finish_reason": whole.finished.reason,
        }
        for index, whole in enumerate(wholes)
    ]
    rows = [usage_of(whole.finished) for whole in wholes]
    own: Any = extras(wholes[0].finished)
    if len(wholes) > 1:
        own = {"choices": [extras(whole.finished) for whole in wholes]}
    return {
        "id": wholes[0].finished.inference,
        "object": "text_completion",
        "created": int(time.time()),
        "model": wholes[0].started.model,
        "choices": choices,
        "usage": {name: sum(row[name] for row in rows) for name in rows[0]},
        "dutchdoor": own,
    }


def legacy_logprobs(tokens: Sequence[Token], offset: int) -> dict[str, Any]:
    """The tokens' log-probabilities in the legacy shape.

    offset: characters of the text before the first token. The first token of an echoed prompt
    has no probability: null, as OpenAI writes it.
    """
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    tops: list[dict[str, float] | None] = []
    for token in tokens:
        assert token.logprob is not None or token.prompt, "only a prompt's first token has none"
        top = {name_of(row.data): row.logprob for row in token.top}
        tops.append(top if token.logprob is not None else None)
    return {
        "tokens": [name_of(token.data) for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": tops,
        "text_offset": offsets,
    }


def name_of(data: bytes) -> str:
    """A token's text; where its bytes are no text alone, their names, so that none are alike."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def _shapes(logprobs: bool) -> Shapes:
    offset = 0

    def first(_: Started) -> list[dict[str, Any]]:
        return []

    def delta(event: TextDelta) -> dict[str, Any]:
        nonlocal offset
        shown = legacy_logprobs(event.tokens, offset) if logprobs else None
        offset += len(event.text)
        return {"index": 0, "text": event.text, "logprobs": shown, "finish_reason": None}

    def last(event: Finished) -> dict[str, Any]:
        return {"index": 0, "text": "", "logprobs": None, "finish_reason": event.reason}

    return Shapes("text_completion", first, delta, last)
