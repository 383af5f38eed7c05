"""`POST /v1/chat/completions`, as OpenAI's clients know it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from dutchdoor.gateway.model import Finished, Started, Stopped, TextDelta
from dutchdoor.runtime.protocol import Token, TokenLogprob
from dutchdoor.server.api.requests import parse_chat
from dutchdoor.server.api.serving import (
    Shapes,
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

__all__ = ["chat_completions", "chat_logprobs"]


async def chat_completions(exchange: Exchange, parts: Parts) -> None:
    """One completion of a conversation."""
    key = exchange.key()
    limits = parts.config.limits
    body = await exchange.body(limits.request_bytes_max)
    try:
        request, asked = parse_chat(body, limits)
    except BadRequest as error:
        raise await about_tools(parts, error) from error
    if asked.stream:
        options = asked.stream_options
        await stream(
            exchange,
            parts,
            key,
            request,
            _shapes(asked.logprobs),
            include_usage=options is not None and options.include_usage,
        )
        return
    whole = await collect(exchange, parts, key, request)
    if isinstance(whole, Stopped):
        await exchange.reply_problem(problem_of(whole))
        return
    finished = whole.finished
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": whole.text, "refusal": None},
        "logprobs": chat_logprobs(whole.tokens) if asked.logprobs else None,
        "finish_reason": finished.reason,
    }
    answer = {
        "id": finished.inference,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": whole.started.model,
        "choices": [choice],
        "usage": usage_of(finished),
        "dutchdoor": extras(finished),
    }
    await exchange.reply_json(answer, headers=[receipt_header(finished)])


def chat_logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    """The tokens' log-probabilities in the chat route's shape."""
    rows = []
    for token in tokens:
        assert token.logprob is not None, "the runtime gives every logprob that was asked for"
        own = TokenLogprob(token.token_id, token.data, token.logprob)
        rows.append({**_row(own), "top_logprobs": [_row(top) for top in token.top]})
    return {"content": rows, "refusal": None}


def _row(token: TokenLogprob) -> dict[str, Any]:
    return {
        "token": token.data.decode("utf-8", "replace"),
        "logprob": token.logprob,
        "bytes": list(token.data),
    }


def _shapes(logprobs: bool) -> Shapes:
    def choice(delta: dict[str, Any], reason: str | None, tokens: Sequence[Token]) -> Any:
        shown = chat_logprobs(tokens) if logprobs and tokens else None
        return {"index": 0, "delta": delta, "logprobs": shown, "finish_reason": reason}

    def first(_: Started) -> list[dict[str, Any]]:
        return [choice({"role": "assistant", "content": ""}, None, ())]

    def delta(event: TextDelta) -> dict[str, Any]:
        return dict(choice({"content": event.text}, None, event.tokens))

    def last(event: Finished) -> dict[str, Any]:
        return dict(choice({}, event.reason, ()))

    return Shapes("chat.completion.chunk", first, delta, last)
