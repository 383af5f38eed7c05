"""What the evidence room needs from others."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Signer"]


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
