"""One HTTP exchange over ASGI: bodies with limits, streams with backpressure, callers who leave."""

from __future__ import annotations

import asyncio
import contextlib
import types
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    MutableMapping,
)
from typing import Any, TypeVar

import msgspec

from dutchdoor.errors import Refused
from dutchdoor.gateway.attempt import HangUp
from dutchdoor.server.errors import BadRequest, Problem

__all__ = ["Application", "CallerGone", "Exchange", "Receive", "Scope", "Send"]

_Given = TypeVar("_Given")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Coroutine[Any, Any, MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Coroutine[Any, Any, None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_S_MAX = 30.0
SEND_S_MAX = 30.0
WATCH_S_MIN = 0.02
KEY_CHARACTERS_MAX = 256
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)


class CallerGone(Exception):
    """The caller closed the connection, or stopped reading for too long."""


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.started = False
        self.status = 0
        self.hang_up = HangUp()
        self._headers = {bytes(name): bytes(value) for name, value in scope["headers"]}
        self.arguments: dict[str, str] = {}
        """What the route's path took out of the request's path."""

    @property
    def method(self) -> str:
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    def key(self) -> str:
        """The API key in `Authorization: Bearer`, unverified.

        Raises Refused: there is none.
        """
        text = self._headers.get(b"authorization", b"").decode("latin-1")
        scheme, _, key = text.partition(" ")
        key = key.strip()
        if scheme.lower() != "bearer" or not key or len(key) > KEY_CHARACTERS_MAX:
            hint = "send 'Authorization: Bearer YOUR-KEY'"
            raise Refused("no API key was given", code="missing_api_key", hint=hint)
        return key

    async def body(self, bytes_max: int) -> bytes:
        """The request's body.

        Raises BadRequest: larger than `bytes_max`, or slower than 30 s. Raises CallerGone.
        """
        length = self._headers.get(b"content-length", b"0")
        if length.isdigit() and (len(length) > 15 or int(length) > bytes_max):
            raise _too_large(bytes_max)
        parts = bytearray()
        receiving = self._receive()
        try:
            # Nearly always the body is here already; a clock runs only where it is not.
            waiting = receiving.send(None)
        except StopIteration as stop:
            first: MutableMapping[str, Any] | None = stop.value
        else:
            first = None
        if first is not None and self._take_part(first, parts, bytes_max):
            return bytes(parts)
        try:
            async with asyncio.timeout(BODY_S_MAX):
                if first is None:
                    first = await _go_on(receiving, waiting)
                    if self._take_part(first, parts, bytes_max):
                        return bytes(parts)
                while not self._take_part(await self._receive(), parts, bytes_max):
                    pass
                return bytes(parts)
        except TimeoutError as error:
            message_text = f"the body took longer than {BODY_S_MAX:.0f} s"
            raise BadRequest(message_text, code="body_too_slow") from error

    def _take_part(
        self, message: MutableMapping[str, Any], parts: bytearray, bytes_max: int
    ) -> bool:
        """Add a part of the body; whether it was the last. Raises BadRequest, CallerGone."""
        if message["type"] == "http.disconnect":
            raise CallerGone
        parts += message.get("body", b"")
        if len(parts) > bytes_max:
            raise _too_large(bytes_max)
        return not message.get("more_body", False)

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """While this runs, the caller's leaving sets `hang_up`. Only after the body was read.

        An answer that is there at once needs no watcher: it begins after a moment.
        """
        tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        late = loop.call_later(WATCH_S_MIN, lambda: tasks.append(loop.create_task(self._watch())))
        try:
            yield
        finally:
            late.cancel()
            for task in tasks:
                task.cancel()

    async def reply(
        self,
        status: int,
        data: bytes,
        kind: str = "application/json",
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        """The whole answer."""
        length = ("content-length", str(len(data)))
        await self._start(status, kind, [*headers, length])
        await self._put({"type": "http.response.body", "body": data})

    async def reply_json(
        self, value: Any, status: int = 200, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """The whole answer, as JSON."""
        await self.reply(status, msgspec.json.encode(value), headers=headers)

    async def reply_problem(self, problem: Problem) -> None:
        """The whole answer, an error."""
        headers = []
        if problem.retry_after_s:
            headers.append(("retry-after", str(problem.retry_after_s)))
        else:
            # Asking again does not help, and each attempt is recorded: tell clients that retry.
            headers.append(("x-should-retry", "false"))
        if problem.status == 401:
            headers.append(("www-authenticate", "Bearer"))
        await self.reply(problem.status, problem.data(), headers=headers)

    async def start_events(self, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Begin a stream of server-sent events."""
        no_buffer = ("x-accel-buffering", "no")  # A proxy that gathers chunks would delay cuts.
        await self._start(200, "text/event-stream; charset=utf-8", [*headers, no_buffer])

    async def send_event(self, data: bytes) -> None:
        """One server-sent event. Waits while the caller reads slowly; raises CallerGone."""
        await self.send_bytes(b"data: " + data + b"\n\n")

    async def send_bytes(self, body: bytes) -> None:
        """A part of the stream. Waits while the caller reads slowly; raises CallerGone."""
        await self._put({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        """End the stream."""
        await self._put({"type": "http.response.body", "body": b""})

    async def _start(self, status: int, kind: str, headers: Iterable[tuple[str, str]]) -> None:
        rows = [(b"content-type", kind.encode()), *_ALWAYS]
        rows += [(name.encode(), value.encode()) for name, value in headers]
        self.started, self.status = True, status
        await self._put({"type": "http.response.start", "status": status, "headers": rows})

    async def _put(self, message: MutableMapping[str, Any]) -> None:
        if self.hang_up.happened:
            raise CallerGone
        sending = self._send(message)
        try:
            # Nearly always the message is taken at once; a clock runs only where it is not.
            waiting = sending.send(None)
        except StopIteration:
            return
        except OSError as error:
            self.hang_up.now()
            raise CallerGone from error
        try:
            async with asyncio.timeout(SEND_S_MAX):
                await _go_on(sending, waiting)
        except (TimeoutError, OSError) as error:
            # Who does not read holds a place that others wait for.
            self.hang_up.now()
            raise CallerGone from error

    async def _watch(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.hang_up.now()
                return


@types.coroutine
def _go_on(work: Coroutine[Any, Any, _Given], waiting: Any) -> Generator[Any, Any, _Given]:
    """Go on with `work`, which has begun and waits for `waiting`."""
    while True:
        try:
            sent = yield waiting
        except BaseException as error:
            step: Callable[[Any], Any] = work.throw
            argument: Any = error
        else:
            step, argument = work.send, sent
        try:
            waiting = step(argument)
        except StopIteration as stop:
            given: _Given = stop.value
            return given


def _too_large(bytes_max: int) -> BadRequest:
    message = f"the body is larger than {bytes_max} bytes"
    return BadRequest(message, code="body_too_large", hint="send less at once")
