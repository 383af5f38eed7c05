"""Serves one engine on a Unix socket that somebody else has opened and is already listening on."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import cast

from dutchdoor.clock import SystemClock
from dutchdoor.errors import DutchdoorError, Invalid, Refused
from dutchdoor.runtime.egress import EgressMeter
from dutchdoor.runtime.framing import FrameReader
from dutchdoor.runtime.model import RuntimeLimits, failed
from dutchdoor.runtime.ports import Engine, Ticket, Work
from dutchdoor.runtime.protocol import (
    PROTOCOL_VERSION,
    Accepted,
    Cancel,
    Describe,
    Description,
    Failed,
    FromRuntime,
    Token,
    ToRuntime,
    decode_to_runtime,
    encode,
)

__all__ = ["Serving"]

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


class Serving:
    """Connections of gateways to one engine; many requests run at once on each."""

    def __init__(
        self,
        engine: Engine,
        *,
        hardening: tuple[str, ...] = (),
        limits: RuntimeLimits,
        meter: EgressMeter | None = None,
    ) -> None:
        """meter: counts what leaves; None only where nothing is to be counted (tests)."""
        self._meter = meter or EgressMeter(-1, 0, SystemClock())
        self._engine = engine
        self._hardening = hardening
        self._limits = limits
        self._connections: set[_Connection] = set()

    async def run(self, listening: socket.socket, stop: asyncio.Event) -> None:
        """Serves until `stop` is set, then closes every connection. Owns `listening`."""
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(self._connection, sock=listening)
        try:
            await stop.wait()
        finally:
            server.close()
            for connection in list(self._connections):
                connection.close()

    def _connection(self) -> _Connection:
        return _Connection(
            self._engine, self._describe, self._limits, self._connections, self._meter
        )

    def _describe(self, request: str) -> Description:
        facts = self._engine.facts
        return Description(
            id=request,
            version=PROTOCOL_VERSION,
            bundle=facts.bundle,
            model=facts.model,
            layers=facts.layers,
            hidden=facts.hidden,
            vocabulary=facts.vocabulary,
            context=facts.context,
            taps=list(facts.taps),
            hardening=list(self._hardening),
            probe=facts.probe,
            egress_bytes_day_max=self._meter.bytes_day_max,
            egress_bytes_today=self._meter.bytes_today,
        )


class _Connection(asyncio.Protocol):
    """One gateway. What it asked for is cancelled when it goes."""

    def __init__(
        self,
        engine: Engine,
        describe: Callable[[str], Description],
        limits: RuntimeLimits,
        connections: set[_Connection],
        meter: EgressMeter,
    ) -> None:
        self._meter = meter
        self._engine = engine
        self._describe = describe
        self._limits = limits
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader()
        self._tickets: dict[str, Ticket | None] = {}
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("socket")
        if not _is_ours(peer) or len(self._connections) >= self._limits.connections_max:
            self._transport.abort()
            return
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            messages = [decode_to_runtime(frame) for frame in self._frames.feed(data)]
        except Invalid:
            # After a message we do not understand, the next byte could be anything.
            self.close()
            return
        for message in messages:
            self._handle(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._transport = None
        for ticket in list(self._tickets.values()):
            if ticket is not None:
                ticket.cancel()

    def close(self) -> None:
        """Ends the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def _handle(self, message: ToRuntime) -> None:
        if isinstance(message, Describe):
            self._send(self._describe(message.id))
        elif isinstance(message, Cancel):
            ticket = self._tickets.get(message.id)
            if ticket is not None:
                ticket.cancel()
        elif not message.id or message.id in self._tickets:
            hint = "give each request an id of its own"
            error = Refused("a request of this id runs already", code="id_in_use", hint=hint)
            # The running request keeps its id; the second cannot be answered under it.
            self._send(failed("", error))
        else:
            self._submit(message)

    def _submit(self, work: Work) -> None:
        try:
            self._meter.check()
        except DutchdoorError as error:
            self._send(failed(work.id, error))
            return
        self._tickets[work.id] = None

        def sink(message: FromRuntime) -> None:
            # Called by the engine's thread; the loop may be gone when the process ends.
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._deliver, work.id, message)

        try:
            self._tickets[work.id] = self._engine.submit(work, sink)
        except DutchdoorError as error:
            self._deliver(work.id, failed(work.id, error))

    def _deliver(self, request: str, message: FromRuntime) -> None:
        if request not in self._tickets:
            return  # It was ended from here, and its caller has heard so.
        if not isinstance(message, Accepted | Token):
            self._tickets.pop(request, None)
        self._send(message)

    def _send(self, message: FromRuntime) -> None:
        if self._transport is None:
            return
        try:
            data = encode(message)
        except Invalid as error:
            message = failed(message.id, error)
            data = encode(message)
        try:
            # Counted before it leaves. What says no or describes passes: it holds no output.
            self._meter.take(len(data), always=isinstance(message, Failed | Description))
        except DutchdoorError as error:
            ticket = self._tickets.pop(message.id, None)
            if ticket is not None:
                ticket.cancel()
            data = encode(failed(message.id, error))
        self._transport.write(data)
        # One gateway that stops reading must not fill the memory that holds the weights.
        if self._transport.get_write_buffer_size() > self._limits.outgoing_bytes_max:
            self._transport.abort()


def _is_ours(peer: socket.socket) -> bool:
    """Whether the other side runs as our own user or as root, as the kernel says."""
    data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(data)
    return uid in {0, os.getuid()}
