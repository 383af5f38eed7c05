"""What custody speaks of: the content key, a custodian's public key, the custodians' terms."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import NoReturn

from dutchdoor.custody.secret_memory import SecretMemory
from dutchdoor.errors import Invalid

__all__ = [
    "CONTENT_KEY_BYTES",
    "XWING_PUBLIC_BYTES",
    "ContentKey",
    "CustodianPublic",
    "CustodyLimits",
    "Kem",
    "check_name",
]

CONTENT_KEY_BYTES = 32
XWING_PUBLIC_BYTES = 1216  # ML-KEM-768 encapsulation key (1184), then X25519 public key (32).


class Kem(StrEnum):
    """How something is sealed to a custodian's key.

    xwing: hybrid, also against a quantum computer; the default. x25519: keys of age. p256: keys
    that live in a token, which cannot do more yet.
    """

    XWING = "xwing"
    X25519 = "x25519"
    P256 = "p256"

    @property
    def public_bytes(self) -> int:
        """How long a public key is."""
        return {"xwing": XWING_PUBLIC_BYTES, "x25519": 32, "p256": 65}[self]


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


@dataclass(frozen=True)
class CustodyLimits:
    """How large and how old what custody reads may be.

    custodians_max: SLIP-39 has 16 share indices. request_lifetime_ms_max: an opening takes
    seconds; a request that lives longer only helps who stole it. clock_skew_ms_max: how far in
    the future a request may have been made. seen_requests_max: unexpired requests remembered.
    ceremony_lifetime_ms_max: people on several machines need hours; theirs is recorded first.
    ceremony_bytes_max: a request with the bundle's manifest and shares.
    """

    custodians_max: int = 16
    key_file_bytes_max: int = 8_192
    shares_file_bytes_max: int = 131_072
    message_bytes_max: int = 16_384
    request_lifetime_ms_max: int = 300_000
    ceremony_lifetime_ms_max: int = 86_400_000
    ceremony_bytes_max: int = 16 << 20
    clock_skew_ms_max: int = 5_000
    seen_requests_max: int = 10_000


class ContentKey:
    """The 32-byte key of one bundle, in memory only: it never prints, compares in constant time.

    Its own memory is secret where the kernel has that (`secret_memory.py`).

    Python may have copied the bytes before they came here; `wipe` clears this copy alone.
    """

    __slots__ = ("_data", "_memory")

    def __init__(self, data: bytes | bytearray) -> None:
        assert len(data) == CONTENT_KEY_BYTES, "a content key has 32 bytes"
        self._memory = SecretMemory(CONTENT_KEY_BYTES)
        self._data = self._memory.view
        self._data[:] = data

    @classmethod
    def generate(cls) -> ContentKey:
        """A new random key."""
        return cls(secrets.token_bytes(CONTENT_KEY_BYTES))

    @property
    def memory(self) -> str:
        """What kind of memory it lives in: `secret`, `locked` or `plain`."""
        return self._memory.kind

    def reveal(self) -> memoryview:
        """The key's own bytes, not a copy: for a cipher, never for a message or a file."""
        return self._data

    def wipe(self) -> None:
        """Overwrite this copy with zeros; the key opens nothing afterwards."""
        self._memory.wipe()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContentKey) and hmac.compare_digest(self._data, other._data)

    def __hash__(self) -> int:
        # Without this, a set or a dictionary would tell equal keys apart by time.
        return id(self)

    def __repr__(self) -> str:
        return "ContentKey(32 secret bytes)"

    def __reduce__(self) -> NoReturn:
        # A key that can be pickled or deep-copied ends up in caches and queues.
        raise AssertionError("a content key is never serialised")


@dataclass(frozen=True)
class CustodianPublic:
    """A custodian's name and public key: whom a share is wrapped to."""

    name: str
    public_key: bytes
    kem: Kem = Kem.XWING

    @property
    def key_id(self) -> str:
        """The kind, for instance `xwing`, `:`, and 16 hexadecimal digits of the key's SHA-256."""
        assert len(self.public_key) == self.kem.public_bytes, "a key of another kind"
        return f"{self.kem}:{hashlib.sha256(self.public_key).hexdigest()[:16]}"


def check_name(name: str) -> str:
    """`name` itself, where it is fit to name a key: 1 to 64 of `A-Z a-z 0-9 . _ @ -`.

    Raises Invalid: empty, too long, or another character.
    """
    if _NAME.fullmatch(name) is None:
        hint = "use 1 to 64 letters, digits, '.', '_', '@' or '-', a letter or digit first"
        raise Invalid("not a name for a key", code="bad_key_name", hint=hint)
    return name
