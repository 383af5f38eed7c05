"""The ASGI application: finds the door, checks who knocks, and turns errors into answers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from dutchdoor.errors import DutchdoorError, NotFound
from dutchdoor.gateway.model import unexpected
from dutchdoor.server.doors import Match, Route, Router, Who
from dutchdoor.server.errors import BadRequest, problem_of
from dutchdoor.server.http import Application, CallerGone, Exchange, Receive, Scope, Send
from dutchdoor.server.parts import Parts
from dutchdoor.server.routes import ROUTES

__all__ = ["build_app"]


def build_app(parts: Parts, routes: Sequence[Route] = ROUTES) -> Application:
    """The application over `parts`.

    Its lifespan starts the gateway (which recovers first) and closes it; so it must be served
    with the lifespan protocol on (`uvicorn.Config(app, lifespan="on")`).
    """
    router = Router(routes)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(parts, receive, send)
        elif scope["type"] == "http":
            await _serve(parts, router, Exchange(scope, receive, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    return app


async def _serve(parts: Parts, router: Router, exchange: Exchange) -> None:
    began_s = time.monotonic()
    match = router.find(exchange.method, exchange.path)
    try:
        await _answer(parts, router, exchange, match)
    except CallerGone:
        pass  # Nobody is there to be told.
    except DutchdoorError as error:
        with contextlib.suppress(CallerGone):
            await _fail(exchange, error)
    except Exception as error:  # A mistake of ours must not take the process down with it.
        with contextlib.suppress(CallerGone):
            await _fail(exchange, unexpected(error))
    finally:
        # Paths that nobody serves are not labels: a scanner would fill the memory with them.
        name = match.route.path if match is not None else "none"
        parts.metrics.served(name, exchange.status, time.monotonic() - began_s)


async def _answer(parts: Parts, router: Router, exchange: Exchange, match: Match | None) -> None:
    if match is None:
        methods = router.methods(exchange.path)
        if methods:
            message = f"this path takes {', '.join(methods)}"
            raise BadRequest(message, code="method_not_allowed")
        hint = "see GET /openapi.json for what there is"
        raise NotFound("there is nothing at this path", code="not_found", hint=hint)
    exchange.arguments = match.arguments
    who = match.route.who
    if who is Who.PERSON:
        await parts.gateway.desk.caller(exchange.key())
    elif who is Who.GRANTED:
        exchange.key()  # Before the body is read: nobody without a key makes us read a megabyte.
    await match.route.handler(exchange, parts)


async def _fail(exchange: Exchange, error: DutchdoorError) -> None:
    if exchange.started:
        await exchange.send_event(problem_of(error).data())
        await exchange.end()
    else:
        await exchange.reply_problem(problem_of(error))


async def _lifespan(parts: Parts, receive: Receive, send: Send) -> None:
    await receive()
    try:
        await parts.gateway.start()
    except DutchdoorError as error:
        message = f"{error.message} ({error.code})"
        await send({"type": "lifespan.startup.failed", "message": message})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await parts.gateway.aclose()
    for close in parts.on_close:
        await close()
    await send({"type": "lifespan.shutdown.complete"})
