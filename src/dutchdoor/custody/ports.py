"""What custody needs from others: which decision is in force, and a place to record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, Recorded
from dutchdoor.ids import BundleDigest

__all__ = ["CountCopies", "DecisionsInForce", "InForce", "Record", "Seen"]

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
