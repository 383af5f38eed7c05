"""What the evidence room needs from others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from dutchdoor.evidence.model import Entry

__all__ = ["Followed", "Gate", "Signer"]


class Signer(Protocol):
    """Holds an Ed25519 private key and signs with it; custody implements it.

    name: whose key it is, for people. public_key: 32 bytes.
    """

    @property
    def name(self) -> str: ...

    @property
    def public_key(self) -> bytes: ...

    def sign(self, data: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `data`."""
        ...


class Followed(Protocol):
    """The log, for whoever follows it; `reader.LogReader` is one."""

    def refresh(self) -> object:
        """Take in what was appended since. Raises Tampered, Unavailable."""
        ...

    def size(self) -> int:
        """How many entries there are, as of the last `refresh`."""
        ...

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        """The entries start..stop with their indexes. Raises Tampered."""
        ...


class Gate(Protocol):
    """Says, under the log's lock, whether an entry may stand at the log's next place.

    `register.DecisionRegister` is one: it lets no inference begin after a revocation, however
    many processes append. Another process's entries are followed before `admit` is asked.
    """

    @property
    def position(self) -> int:
        """How many entries were followed so far."""
        ...

    def follow(self, index: int, data: bytes) -> None:
        """Take note of a durable entry; each one comes, in order, those known already again."""
        ...

    def admit(self, entry: Entry) -> None:
        """Raises Refused where `entry` may not follow what was followed so far."""
        ...
