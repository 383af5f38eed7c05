"""HPKE with X-Wing: sealing a few bytes to one public key, bound to what they are for.

The library's hybrid private keys have no serialisation, so a private key is kept as its two
seeds: 64 bytes of ML-KEM-768 and 32 bytes of X25519, in this order.
Source: RFC 9180, base mode, single shot; draft-connolly-cfrg-xwing-kem;
KEM MLKEM768_X25519, KDF HKDF-SHA256, AEAD AES-256-GCM.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from dutchdoor.custody.model import XWING_PUBLIC_BYTES
from dutchdoor.errors import Invalid

__all__ = ["SEED_BYTES", "PrivateKey", "seal_to"]

SEED_BYTES = 96
_MLKEM_SEED_BYTES = 64
_MLKEM_PUBLIC_BYTES = 1184


class PrivateKey:
    """An X-Wing private key: opens what was sealed to its public key. Never prints its seeds."""

    __slots__ = ("_private", "_public")

    def __init__(self, seeds: bytes) -> None:
        """seeds: 96 secret bytes.

        Raises Invalid: of another length.
        """
        if len(seeds) != SEED_BYTES:
            raise Invalid("an X-Wing private key has 96 bytes of seeds", code="bad_key_file")
        mlkem = MLKEM768PrivateKey.from_seed_bytes(seeds[:_MLKEM_SEED_BYTES])
        x25519 = X25519PrivateKey.from_private_bytes(seeds[_MLKEM_SEED_BYTES:])
        self._private = MLKEM768X25519PrivateKey(mlkem, x25519)
        self._public = (
            mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        )

    @classmethod
    def ephemeral(cls) -> PrivateKey:
        """A new key that lives in this process's memory alone."""
        return cls(secrets.token_bytes(SEED_BYTES))

    @property
    def public_key(self) -> bytes:
        """1,216 bytes: the ML-KEM-768 encapsulation key, then the X25519 public key."""
        return self._public

    def open(self, sealed: bytes, info: bytes) -> bytes | None:
        """What was sealed to this key under exactly this `info`, or None where it was not.

        None says no more than that: another key, another `info`, and changed bytes look alike.
        """
        try:
            return _suite().decrypt(sealed, self._private, info)
        except (InvalidTag, ValueError):
            return None

    def __repr__(self) -> str:
        return "PrivateKey(X-Wing, secret)"


def seal_to(public_key: bytes, data: bytes, info: bytes) -> bytes:
    """`data` sealed to `public_key` (1,216 bytes, unverified) and bound to `info`.

    Raises Invalid: not an X-Wing public key.
    """
    if len(public_key) != XWING_PUBLIC_BYTES:
        raise Invalid("an X-Wing public key has 1,216 bytes", code="bad_public_key")
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public_key[:_MLKEM_PUBLIC_BYTES])
        x25519 = X25519PublicKey.from_public_bytes(public_key[_MLKEM_PUBLIC_BYTES:])
        return _suite().encrypt(data, MLKEM768X25519PublicKey(mlkem, x25519), info)
    except ValueError as error:
        # An encapsulation key off the modulus, or a small-order point of X25519.
        raise Invalid("not an X-Wing public key", code="bad_public_key") from error


def _suite() -> Suite:
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
