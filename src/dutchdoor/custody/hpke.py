"""HPKE: sealing a few bytes to one public key, bound to what they are for.

X-Wing is the rule. X25519 is for keys of age, P-256 for keys inside a token: there the token alone
does the Diffie-Hellman, and `open_with_exchange` does the rest as RFC 9180 says.

The library's hybrid private keys have no serialisation, so a private key is kept as its two
seeds: 64 bytes of ML-KEM-768 and 32 bytes of X25519, in this order.
Source: RFC 9180, base mode, single shot; draft-connolly-cfrg-xwing-kem;
KEM MLKEM768_X25519, DHKEM(X25519) or DHKEM(P-256), KDF HKDF-SHA256, AEAD AES-256-GCM.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from dutchdoor.custody.model import Kem
from dutchdoor.errors import Invalid

__all__ = ["SEED_BYTES", "ClassicalKey", "PrivateKey", "open_with_exchange", "seal_to"]

SEED_BYTES = 96
X25519_SEED_BYTES = 32
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


class ClassicalKey:
    """An X25519 private key: as `PrivateKey`, without the protection against quantum computers."""

    __slots__ = ("_private", "_public")

    def __init__(self, seed: bytes) -> None:
        """seed: 32 secret bytes.

        Raises Invalid: of another length.
        """
        if len(seed) != X25519_SEED_BYTES:
            raise Invalid("an X25519 private key has 32 bytes", code="bad_key_file")
        self._private = X25519PrivateKey.from_private_bytes(seed)
        self._public = self._private.public_key().public_bytes_raw()

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self._public

    def open(self, sealed: bytes, info: bytes) -> bytes | None:
        """As `PrivateKey.open`."""
        try:
            return _suite(Kem.X25519).decrypt(sealed, self._private, info)
        except (InvalidTag, ValueError):
            return None

    def __repr__(self) -> str:
        return "ClassicalKey(X25519, secret)"


def seal_to(public_key: bytes, data: bytes, info: bytes, kem: Kem = Kem.XWING) -> bytes:
    """`data` sealed to `public_key` (unverified, of `kem.public_bytes`) and bound to `info`.

    Raises Invalid: not a public key of this kind.
    """
    if len(public_key) != kem.public_bytes:
        message = f"a public key of kind {kem} has {kem.public_bytes} bytes"
        raise Invalid(message, code="bad_public_key")
    try:
        return _suite(kem).encrypt(data, _public(public_key, kem), info)
    except ValueError as error:
        # An encapsulation key off the modulus, a small-order point, or a point off the curve.
        raise Invalid(f"not a public key of kind {kem}", code="bad_public_key") from error


def open_with_exchange(
    sealed: bytes, info: bytes, public_key: bytes, exchange: Callable[[bytes], bytes]
) -> bytes | None:
    """What was sealed to a P-256 key that does its own Diffie-Hellman, or None where it was not.

    public_key: 65 bytes, the receiver's. exchange: takes the sender's 65-byte point and gives the
    shared x-coordinate, 32 bytes; what it raises is passed on.
    Source: RFC 9180, sections 4.1 (Decap, ExtractAndExpand) and 5.1 (KeySchedule, mode base).
    """
    point, text = sealed[: Kem.P256.public_bytes], sealed[Kem.P256.public_bytes :]
    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
    except ValueError:
        return None
    kem_suite = b"KEM" + _P256_ID
    prk = _extract(kem_suite, b"", b"eae_prk", exchange(point))
    shared = _expand(kem_suite, prk, b"shared_secret", point + public_key, 32)
    suite = b"HPKE" + _P256_ID + _HKDF_SHA256_ID + _AES_256_GCM_ID
    context = b"\0" + _extract(suite, b"", b"psk_id_hash", b"")
    context += _extract(suite, b"", b"info_hash", info)
    secret = _extract(suite, shared, b"secret", b"")
    key = _expand(suite, secret, b"key", context, 32)
    nonce = _expand(suite, secret, b"base_nonce", context, 12)
    try:
        return AESGCM(key).decrypt(nonce, text, b"")
    except (InvalidTag, ValueError):
        return None


_P256_ID, _HKDF_SHA256_ID, _AES_256_GCM_ID = b"\0\x10", b"\0\x01", b"\0\x02"


def _extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + secret, "sha256")


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    assert length <= hashlib.sha256().digest_size, "one block of HKDF is enough for us"
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, labelled + b"\1", "sha256")[:length]


def _public(
    data: bytes, kem: Kem
) -> MLKEM768X25519PublicKey | X25519PublicKey | EllipticCurvePublicKey:
    if kem is Kem.P256:
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), data)
    if kem is Kem.X25519:
        return X25519PublicKey.from_public_bytes(data)
    mlkem = MLKEM768PublicKey.from_public_bytes(data[:_MLKEM_PUBLIC_BYTES])
    return MLKEM768X25519PublicKey(
        mlkem, X25519PublicKey.from_public_bytes(data[_MLKEM_PUBLIC_BYTES:])
    )


def _suite(kem: Kem = Kem.XWING) -> Suite:
    kems = {Kem.XWING: KEM.MLKEM768_X25519, Kem.X25519: KEM.X25519, Kem.P256: KEM.P256}
    return Suite(kems[kem], KDF.HKDF_SHA256, AEAD.AES_256_GCM)
