"""The console as an ASGI application: one request in, one page out, nothing kept in between."""

from __future__ import annotations

import asyncio
import contextlib

from dutchdoor.errors import DutchdoorError, Refused
from dutchdoor.server.console.desk import Desk
from dutchdoor.server.console.page import render
from dutchdoor.server.console.requests import BODY_BYTES_MAX, Answer, Request
from dutchdoor.server.http import Application, CallerGone, Exchange, Receive, Scope, Send

__all__ = ["build_console"]

METHODS = ("GET", "POST")


def build_console(desk: Desk) -> Application:
    """The application over `desk`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            with contextlib.suppress(CallerGone):
                await _serve(desk, Exchange(scope, receive, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    return app


async def _serve(desk: Desk, exchange: Exchange) -> None:
    try:
        answer = await _answer(desk, exchange)
    except DutchdoorError as error:
        answer = Answer(400, render("refused.html", {"error": error}))
    except CallerGone:
        raise
    except Exception:  # A mistake of ours: it shows no more than that there was one.
        message = "the console made a mistake; nothing was saved"
        mistake = Refused(message, code="internal_error", hint="open the page again")
        answer = Answer(500, render("refused.html", {"error": mistake}))
    await exchange.reply(answer.status, answer.data, answer.kind, answer.all_headers)


async def _answer(desk: Desk, exchange: Exchange) -> Answer:
    if exchange.method not in METHODS:
        error = Refused("the console takes GET and POST", code="method_not_allowed")
        return Answer(405, render("refused.html", {"error": error}))
    body = await exchange.body(BODY_BYTES_MAX) if exchange.method == "POST" else b""
    request = Request.of(exchange.scope, body)
    return await asyncio.to_thread(desk.answer, request)
