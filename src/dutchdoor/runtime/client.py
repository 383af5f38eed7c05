"""The gateway's side of the runtime's socket: many requests at once on one connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar, cast

from dutchdoor.errors import DutchdoorError, Invalid, Unavailable
from dutchdoor.ids import random_part
from dutchdoor.runtime.framing import FrameReader
from dutchdoor.runtime.model import Blocked, error_of, verdict_of
from dutchdoor.runtime.protocol import (
    PROTOCOL_VERSION,
    Accepted,
    Activations,
    Amend,
    Amended,
    Cancel,
    Describe,
    Description,
    Done,
    Failed,
    FitProbe,
    FromRuntime,
    Generate,
    ProbeFitted,
    ReadActivations,
    Token,
    Tokenize,
    Tokenized,
    ToRuntime,
    decode_from_runtime,
    encode,
)

__all__ = ["RuntimeClient"]

_Answer = TypeVar("_Answer", Activations, Amended, Description, ProbeFitted, Tokenized)
_Question = Describe | ReadActivations | FitProbe | Amend | Tokenize


class RuntimeClient:
    """Speaks to one runtime; connects on first use and again after the runtime has come back.

    Belongs to one event loop. Every call raises Unavailable (`runtime_down`) at once where nobody
    answers, and what is open when the runtime dies is ended the same way.
    """

    def __init__(
        self, socket_path: Path, *, queue_messages_max: int = 8192, answer_s_max: float = 5.0
    ) -> None:
        """queue_messages_max: unread messages of one request. answer_s_max: to the first answer.

        A listening socket accepts connections even while the runtime behind it restarts, so being
        connected means to have been answered.
        """
        self._path = socket_path
        self._queue_messages_max = queue_messages_max
        self._answer_s_max = answer_s_max
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()

    async def connect(self) -> Description:
        """What the runtime holds, once it answers.

        Raises Unavailable: it does not, or speaks another version of the protocol.
        """
        await self._connected()
        return await self.describe()

    async def describe(self) -> Description:
        """What the runtime holds."""
        return await self._ask(Describe("describe_" + random_part()), Description)

    def described(self) -> Description | None:
        """The description that came with the present connection; None where there is none.

        It is the runtime's for as long as the connection stands, but for how much has left today.
        """
        link = self._link
        return None if link is None or link.is_lost else link.description

    async def stream(self, request: Generate, sink: _Sink) -> Callable[[], None]:
        """Hands the events of one completion to `sink` as they come; gives what leaves it.

        A sink without room ends the request. Raises what `generate` raises before the first event.
        """
        link = await self._connected()
        link.open(request, sink)
        return partial(link.leave, request.id)

    async def generate(self, request: Generate) -> AsyncIterator[Accepted | Token | Done]:
        """The events of one completion, the last of them `Done`.

        Leaving the iterator early cancels the request. Raises what the runtime refused it with;
        Unavailable: the runtime is down, or the events were not read in time.
        """
        link = await self._connected()
        channel = _Channel(self._queue_messages_max)
        link.open(request, channel)
        try:
            while True:
                message = await channel.next()
                if isinstance(message, Accepted | Token | Done):
                    yield message
                if isinstance(message, Done):
                    return
        finally:
            link.leave(request.id)

    async def cancel(self, id: str) -> None:  # noqa: A002 - the gateway's port names it so
        """Ends the request of this id; its iterator gets `Done` with reason `cancelled`."""
        if self._link is not None:
            self._link.send(Cancel(id))

    async def read_activations(self, request: ReadActivations) -> Activations:
        """Hidden vectors at named taps. Raises as `generate` does."""
        return await self._ask(request, Activations)

    async def fit_probe(self, request: FitProbe) -> ProbeFitted:
        """The fitted probe, sealed to its bundle. Takes minutes. Raises as `generate` does."""
        return await self._ask(request, ProbeFitted)

    async def amend(self, request: Amend) -> Amended:
        """The curve of one way to modify the model. Takes minutes. Raises as `generate` does."""
        return await self._ask(request, Amended)

    async def tokenize(self, request: Tokenize) -> Tokenized:
        """Token ids and their exact bytes. Raises as `generate` does."""
        return await self._ask(request, Tokenized)

    async def aclose(self) -> None:
        """Ends the connection; open requests end with Unavailable."""
        if self._link is not None:
            self._link.close()
            self._link = None

    async def _ask(self, request: _Question, answer: type[_Answer]) -> _Answer:
        return await _ask(await self._connected(), request, answer)

    async def _connected(self) -> _Link:
        if self._link is not None and not self._link.is_lost:
            return self._link
        async with self._connecting:
            if self._link is None or self._link.is_lost:
                self._link = await self._greet()
            return self._link

    async def _greet(self) -> _Link:
        loop = asyncio.get_running_loop()
        link: _Link | None = None
        try:
            async with asyncio.timeout(self._answer_s_max):
                _, link = await loop.create_unix_connection(_Link, str(self._path))
                request = Describe("describe_" + random_part())
                description = await _ask(link, request, Description)
        except (OSError, TimeoutError) as error:
            if link is not None:
                link.close()
            raise _down("nobody answers on the runtime's socket") from error
        if description.version != PROTOCOL_VERSION:
            link.close()
            message = f"the runtime speaks version {description.version} of the protocol"
            hint = "restart the runtime from the same installation as the gateway"
            raise Unavailable(message, code="runtime_version", hint=hint)
        link.description = description
        return link


async def _ask(link: _Link, request: _Question, answer: type[_Answer]) -> _Answer:
    channel = _Channel(2)
    link.open(request, channel)
    try:
        message = await channel.next()
    finally:
        link.leave(request.id)
    if isinstance(message, Done) and message.reason == "content_filter":
        raise Blocked(tuple(verdict_of(verdict) for verdict in message.verdicts))
    if not isinstance(message, answer):
        raise Unavailable("the runtime answered something else", code="bad_message")
    return message


class _Sink(Protocol):
    """Where the messages of one request go."""

    def put(self, message: FromRuntime) -> bool:
        """Whether there was room."""
        ...

    def fail(self, error: DutchdoorError) -> None:
        """Ends the request at once."""
        ...


class _Channel:
    """The unread messages of one request: bounded, so that one slow reader stops only itself."""

    def __init__(self, messages_max: int) -> None:
        self._messages: deque[FromRuntime] = deque()
        self._messages_max = messages_max
        self._error: DutchdoorError | None = None
        self._wake: asyncio.Future[None] | None = None

    def put(self, message: FromRuntime) -> bool:
        """Whether there was room."""
        if len(self._messages) >= self._messages_max:
            return False
        self._messages.append(message)
        self._awake()
        return True

    def fail(self, error: DutchdoorError) -> None:
        """Ends the request at once: what was not read yet is dropped."""
        self._messages.clear()
        self._error = error
        self._awake()

    async def next(self) -> FromRuntime:
        """The next message. Raises what the request failed with."""
        while not self._messages and self._error is None:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        if self._error is not None:
            raise self._error
        message = self._messages.popleft()
        if isinstance(message, Failed):
            raise error_of(message)
        return message

    def _awake(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class _Link(asyncio.Protocol):
    """One connection: sorts what comes in by the request it belongs to."""

    def __init__(self) -> None:
        self._frames = FrameReader()
        self._channels: dict[str, _Sink] = {}
        self.description: Description | None = None
        self._transport: asyncio.Transport | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._sort(decode_from_runtime(frame))
        except Invalid:
            # Whatever speaks there is not our runtime: believe nothing more of it.
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose()

    def open(self, request: ToRuntime, sink: _Sink) -> None:
        """Sends `request`; its messages go to `sink`.

        Raises Unavailable: the connection is lost. Raises Invalid: too large, or its id is in use.
        """
        if self.is_lost:
            raise _down("the runtime is down")
        if request.id in self._channels:
            raise Invalid("a request of this id is open already", code="id_in_use")
        data = encode(request)
        self._channels[request.id] = sink
        assert self._transport is not None, "opened before it was connected"
        self._transport.write(data)

    def leave(self, request: str) -> None:
        """Forgets a request, and cancels it where it has not ended."""
        if self._channels.pop(request, None) is not None:
            self.send(Cancel(request))

    def send(self, message: Cancel) -> None:
        """Sends what needs no answer; does nothing on a lost connection."""
        if self._transport is not None and not self.is_lost:
            self._transport.write(encode(message))

    def close(self) -> None:
        """Ends the connection and everything open on it, now."""
        self._lose()
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.abort()

    def _sort(self, message: FromRuntime) -> None:
        channel = self._channels.get(message.id)
        if channel is None:
            return  # left by its reader; the cancellation is on its way
        if not isinstance(message, Accepted | Token):
            del self._channels[message.id]
        if not channel.put(message):
            self._channels.pop(message.id, None)
            self.send(Cancel(message.id))
            text = "the events of this request were not read in time"
            hint = "read the stream faster, or ask for fewer tokens"
            channel.fail(Unavailable(text, code="consumer_too_slow", hint=hint))

    def _lose(self) -> None:
        self.is_lost = True
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.fail(_down("the runtime went down during this request"))


def _down(message: str) -> Unavailable:
    hint = "wait for the runtime to restart, then try again; 'dutchdoor status' shows its state"
    return Unavailable(message, code="runtime_down", hint=hint)
