"""API keys: what they look like, how one is made, and what is kept of it.

`dd_live_<30 characters>_<6 characters>`: a fixed prefix, so that scanners of public code find a
leaked key; 30 random base62 characters, 178 bits; and the CRC-32 of all before it, so that a typo
is refused without a look-up and a leaked string can be told from a lookalike offline. What is kept
is HMAC-SHA-256 under the workspace's `access.key`: a stolen database alone confirms no guess.
Source: GitHub Engineering, "Behind GitHub's new authentication token formats", 2021.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from typing import Final, NoReturn

from dutchdoor.errors import Refused

__all__ = ["ApiKey", "HashKey"]

PREFIX: Final = "dd_live_"
BODY_CHARACTERS: Final = 30
CHECKSUM_CHARACTERS: Final = 6
HASH_KEY_BYTES: Final = 32
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE: Final = re.compile(
    rf"{PREFIX}[0-9A-Za-z]{{{BODY_CHARACTERS}}}_[0-9A-Za-z]{{{CHECKSUM_CHARACTERS}}}"
)


class _Secret:
    """Holds text or bytes that no log, error, traceback or pickle may show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, hidden>"

    def __format__(self, _specification: str) -> str:
        return repr(self)

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise AssertionError(f"{type(self).__name__} is a secret and is not serialised")


class HashKey(_Secret):
    """The workspace's key for hashing API keys: 32 bytes that stay in the keyring."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        assert len(data) == HASH_KEY_BYTES, "a hash key has 32 bytes"
        self._data = data

    def hash(self, data: bytes) -> str:
        """HMAC-SHA-256 of `data`, 64 hexadecimal digits."""
        return hmac.digest(self._data, data, hashlib.sha256).hex()


class ApiKey(_Secret):
    """One API key in clear: in memory between the caller's header and the look-up, no longer."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    @classmethod
    def new(cls) -> ApiKey:
        """A fresh key of 178 random bits."""
        body = "".join(secrets.choice(_BASE62) for _ in range(BODY_CHARACTERS))
        head = PREFIX + body
        return cls(f"{head}_{_checksum(head)}")

    @classmethod
    def parse(cls, text: str) -> ApiKey:
        """The key of `text` (unverified), its form and checksum right; says nothing of its owner.

        Raises Refused: not a key of ours, or a typo in one. The error never holds the text.
        """
        if not isinstance(text, str) or _SHAPE.fullmatch(text) is None:
            raise _refused("this is not a dutchdoor API key")
        head, _, checksum = text.rpartition("_")
        if not hmac.compare_digest(checksum, _checksum(head)):
            raise _refused("the API key has a typo: its checksum does not match")
        return cls(text)

    def reveal(self) -> str:
        """The key itself: to be shown to its owner once, and nowhere else."""
        return self._text

    def keyed_hash(self, key: HashKey) -> str:
        """What is kept of it: 64 hexadecimal digits."""
        return key.hash(self._text.encode())


def _checksum(head: str) -> str:
    value = zlib.crc32(head.encode())
    digits = []
    for _ in range(CHECKSUM_CHARACTERS):
        value, digit = divmod(value, len(_BASE62))
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))


def _refused(message: str) -> Refused:
    hint = "send 'Authorization: Bearer dd_live_…' as it was shown when the key was issued"
    return Refused(message, code="invalid_api_key", hint=hint)
