"""What a supervisor and its runtime say to each other, over the socket they share from birth.

Frames as on the gateway's socket. The content key never passes here: shares come sealed to a key
that was born in the runtime and dies there.
"""

from __future__ import annotations

import socket
from typing import TypeVar

import msgspec

from dutchdoor.custody.opening import REQUEST_LIFETIME_MS
from dutchdoor.errors import DutchdoorError, Invalid, Unavailable
from dutchdoor.evidence.decision import GuardTerms
from dutchdoor.runtime.framing import FrameReader
from dutchdoor.runtime.model import RuntimeLimits, error_of, failed
from dutchdoor.runtime.protocol import Failed

__all__ = ["Begin", "Control", "NotStarted", "Ready", "Released", "Started"]


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class Begin(_Message, frozen=True, tag="begin"):
    """Supervisor: what to become. holders: Ed25519 keys by key id, from configuration.

    bundle: the digest that must lie at the path. require: hardening without which not to go on.
    opening_ms: how long its request to be opened lives.
    """

    bundle: str
    holders: dict[str, bytes]
    dtype: str
    threads: int
    require: list[str]
    limits: RuntimeLimits
    opening_ms: int = REQUEST_LIFETIME_MS


class Ready(_Message, frozen=True, tag="ready"):
    """Runtime: hardened as said, and this is the request to open (`custody.messages`)."""

    hardening: list[str]
    request: bytes


class Released(_Message, frozen=True, tag="released"):
    """Supervisor: the custodians' releases, the decision they name, and its terms of the guard.

    companion: the sealed probe, b"" where the decision names none. amends: whether the decision
    lets anybody ask what a modification of the model does. egress_bytes_day_max: bytes that may
    leave a day, 0 for any number.
    """

    releases: list[bytes]
    decision: str
    guard: GuardTerms
    companion: bytes
    amends: bool = False
    egress_bytes_day_max: int = 0


class Started(_Message, frozen=True, tag="started"):
    """Runtime: the model is in memory and the socket is served. probe: its digest, or ""."""

    model: str
    probe: str


class NotStarted(_Message, frozen=True, tag="not_started"):
    """Either side: it cannot go on; nothing is opened."""

    failure: Failed


ControlMessage = Begin | Ready | Released | Started | NotStarted

_Kind = TypeVar("_Kind", Begin, Ready, Released, Started)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[ControlMessage] = msgspec.msgpack.Decoder(ControlMessage)
_READ_BYTES = 65_536


class Control:
    """One end of the control socket, blocking."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._frames = FrameReader()
        self._waiting: list[bytes] = []

    def send(self, message: ControlMessage) -> None:
        """Raises Unavailable: the other side is gone."""
        data = _encoder.encode(message)
        try:
            self.socket.sendall(len(data).to_bytes(4, "big") + data)
        except OSError as error:
            raise _gone() from error

    def refuse(self, error: Exception) -> None:
        """Tells the other side why it cannot go on."""
        self.send(NotStarted(failed("", error)))

    def receive(self, kind: type[_Kind], s_max: float | None = None) -> _Kind:
        """The next message, of `kind`. s_max: seconds to wait at most.

        Raises what the other side could not go on with. Raises Unavailable: it is gone or late.
        Raises Invalid: another message.
        """
        self.socket.settimeout(s_max)
        try:
            message = self._next()
        except TimeoutError as error:
            raise Unavailable("the other side is late", code="runtime_late") from error
        except OSError as error:
            raise _gone() from error
        if isinstance(message, NotStarted):
            raise _error(message)
        if not isinstance(message, kind):
            raise Invalid("another control message than the one due", code="bad_message")
        return message

    def _next(self) -> ControlMessage:
        while not self._waiting:
            data = self.socket.recv(_READ_BYTES)
            if not data:
                raise _gone()
            self._waiting += self._frames.feed(data)
        try:
            return _decoder.decode(self._waiting.pop(0))
        except (msgspec.MsgspecError, ValueError) as error:
            raise Invalid("not a control message", code="bad_message") from error


def _error(message: NotStarted) -> DutchdoorError:
    return error_of(message.failure)


def _gone() -> Unavailable:
    hint = "look at the runtime's own output for the reason"
    return Unavailable("the runtime process has ended", code="runtime_down", hint=hint)
