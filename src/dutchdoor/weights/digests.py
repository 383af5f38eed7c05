"""Digests of a sealed file's regions: the one door of the BLAKE3 library.

A publisher's digest is taken over the ciphertext with a function that nobody can collide. The tags
of AES-GCM are no such thing: who has the key can make another slot with the same tag. BLAKE3 is
such a function and costs a third of SHA-256, which made sealing four times slower than encrypting.
Source: O'Connor, Aumasson, Neves, Wilcox-O'Hearn, BLAKE3 (2020).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import blake3

__all__ = ["Digest", "blake3_digest", "sha256_digest"]

Digest = Callable[[bytes | memoryview], bytes]
"""Gives 32 bytes for any bytes."""


def blake3_digest(data: bytes | memoryview) -> bytes:
    """BLAKE3 of `data`, 32 bytes, on the calling thread."""
    return blake3.blake3(data).digest()


def sha256_digest(data: bytes | memoryview) -> bytes:
    """SHA-256 of `data`, 32 bytes: version 1 of the format."""
    return hashlib.sha256(data).digest()
