"""What custody needs from others: which decision is in force, and a place to record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dutchdoor.custody.model import CustodianPublic
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, Recorded
from dutchdoor.ids import BundleDigest

__all__ = [
    "AskSecret",
    "CountCopies",
    "DecisionsInForce",
    "Identity",
    "InForce",
    "Lock",
    "Record",
    "Seen",
]

AskSecret = Callable[[str], bytes]
"""Gives a passphrase, a PIN or a token, from a person or a descriptor; takes what to ask for."""

Record = Callable[[Entry], Recorded]
"""Makes an entry durable and returns it; raises where it cannot, and then nothing happens."""

CountCopies = Callable[[BundleDigest], int]
"""How many copies of a bundle are known; raises where that cannot be said."""


class InForce(Protocol):
    """A decision in force, and the index of its entry in the log."""

    @property
    def decision(self) -> Decision: ...

    @property
    def index(self) -> int: ...


class DecisionsInForce(Protocol):
    """Says which decision is in force on a bundle; evidence implements it."""

    def in_force(self, bundle: BundleDigest, now_ms: int) -> InForce:
        """The one decision in force.

        Raises NotInForce: there is none.
        """
        ...


class Seen(Protocol):
    """A custodian's memory of the requests it has answered."""

    def holds(self, request: str, now_ms: int) -> bool:
        """Whether the request of this digest was answered already."""
        ...

    def remember(self, request: str, expires_ms: int, now_ms: int) -> None:
        """Keep the digest until it has expired, durably, before anything is released.

        Raises Refused: it was there already. Raises Unavailable: there is no room.
        """
        ...


class Identity(Protocol):
    """A custodian's private key, wherever it is kept."""

    @property
    def name(self) -> str: ...

    @property
    def public(self) -> CustodianPublic: ...

    @property
    def key_id(self) -> str: ...

    def open(self, sealed: bytes, info: bytes) -> bytes | None:
        """What was sealed to this key under `info`, or None.

        Raises Refused, NotFound, Unavailable: the place where it is kept says no.
        """
        ...


class Lock(Protocol):
    """What keeps a key file's secret: a passphrase, or a key management service."""

    @property
    def kind(self) -> str: ...

    @property
    def line(self) -> str:
        """What the key file says of the lock; nothing secret."""
        ...

    def close(self, secret: bytes, bound: bytes) -> bytes:
        """`secret` locked, and bound to `bound`. Raises Refused, Invalid, Unavailable."""
        ...

    def open(self, closed: bytes, bound: bytes) -> bytes:
        """The secret again. Raises Refused: not with this. Raises Tampered, Unavailable."""
        ...
