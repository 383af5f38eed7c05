"""What a custodian shows of a share without showing it: a signature that only its holder can make.

From each share an Ed25519 key is derived; `shares.json`, which the holder's manifest names, holds
the public part. So anybody can tell that whoever signed has exactly the share that was split then:
a drill needs no opening, and a wrong share is caught before it reaches a runtime. The public key
tells nothing of the share but what HKDF of 256 random bits tells.
Source: RFC 5869; RFC 8032.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["PROOF_BYTES", "is_proven", "proof_key", "prove"]

PROOF_BYTES = 32
SIGNATURE_BYTES = 64
_INFO = b"dutchdoor share proof v1"


def proof_key(words: str) -> bytes:
    """The public key (32 bytes) under which this share's proofs verify. words: of the share."""
    return _private(words).public_key().public_bytes_raw()


def prove(words: str, about: bytes) -> bytes:
    """The proof (64 bytes) that who made it had these words, when it was asked about `about`."""
    return _private(words).sign(_signed(about))


def is_proven(key: bytes, about: bytes, proof: bytes) -> bool:
    """Whether `proof` (unverified) was made with the share of `key`, about exactly `about`."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(proof, _signed(about))
    except (InvalidSignature, ValueError):
        return False
    return True


def _private(words: str) -> Ed25519PrivateKey:
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_INFO)
    return Ed25519PrivateKey.from_private_bytes(derived.derive(words.encode()))


def _signed(about: bytes) -> bytes:
    return _INFO + b"\0" + about
