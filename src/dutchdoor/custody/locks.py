"""Locks on key files: what must be given, besides the file, before its secret can be read.

A lock seals the secret under a key of its own and binds it to the file's other lines, so that a
secret cannot be moved to another name or lock. The passphrase's lock is here; a key management
service's is in `transit.py`. Keys that never leave a token need none (`token.py`).
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from dutchdoor.custody.fields import BAD_FIELD, base64_text, bytes_of
from dutchdoor.custody.ports import AskSecret
from dutchdoor.errors import Invalid, Refused

__all__ = ["PASSPHRASE_BYTES_MIN", "PassphraseLock", "open_sealed", "seal_up"]

PASSPHRASE_BYTES_MIN = 12
PASSPHRASE_BYTES_MAX = 1024
NONCE_BYTES = 12
_SALT_BYTES = 16
_KEY_BYTES = 32
# RFC 9106, section 4, second recommended option.
_ITERATIONS, _MEMORY_KIB, _LANES = 3, 65_536, 4
# What a file may ask for at most: it must not be able to use up the machine that reads it.
_ITERATIONS_MAX, _MEMORY_KIB_MAX, _LANES_MAX = 16, 1_048_576, 16


class PassphraseLock:
    """A lock that a passphrase opens: Argon2id, then AES-256-GCM. Source: RFC 9106."""

    kind = "passphrase"

    def __init__(self, ask: AskSecret, line: str = "") -> None:
        """ask: gives the passphrase, when it is needed. line: of a key file; "" for a new lock.

        Raises Invalid: not such a line, or one that asks for too much.
        """
        self._ask = ask
        if not line:
            self._costs = (_ITERATIONS, _MEMORY_KIB, _LANES)
            self._salt = secrets.token_bytes(_SALT_BYTES)
            return
        try:
            kind, algorithm, *costs, salt = line.split(" ")
            numbers = [int(cost) for cost in costs]
            iterations, memory_kib, lanes = numbers
            self._salt = bytes_of(salt)
        except (ValueError, *BAD_FIELD) as error:
            raise _bad_lock() from error
        self._costs = (iterations, memory_kib, lanes)
        fits = (
            0 < iterations <= _ITERATIONS_MAX
            and 8 * lanes <= memory_kib <= _MEMORY_KIB_MAX
            and 0 < lanes <= _LANES_MAX
        )
        if (kind, algorithm) != (self.kind, "argon2id") or not fits or self.line != line:
            raise _bad_lock()

    @property
    def line(self) -> str:
        """What the key file says of this lock; nothing secret."""
        costs = " ".join(str(cost) for cost in self._costs)
        return f"{self.kind} argon2id {costs} {base64_text(self._salt)}"

    def close(self, secret: bytes, bound: bytes) -> bytes:
        """`secret`, locked and bound to `bound`.

        Raises Invalid: the passphrase is too short.
        """
        passphrase = self._ask("new passphrase")
        if not PASSPHRASE_BYTES_MIN <= len(passphrase) <= PASSPHRASE_BYTES_MAX:
            message = f"a passphrase has at least {PASSPHRASE_BYTES_MIN} characters"
            raise Invalid(message, code="weak_passphrase", hint="take five or more words at random")
        return seal_up(self._key(passphrase), secret, bound)

    def open(self, closed: bytes, bound: bytes) -> bytes:
        """The secret. Raises Refused: another passphrase, or the file was changed."""
        opened = open_sealed(self._key(self._ask("passphrase")), closed, bound)
        if opened is None:
            message = "the passphrase does not open this key"
            hint = "try again; if it is right, the key file was changed: restore it from a backup"
            raise Refused(message, code="key_locked", hint=hint)
        return opened

    def _key(self, passphrase: bytes) -> bytes:
        iterations, memory_kib, lanes = self._costs
        return Argon2id(
            salt=self._salt,
            length=_KEY_BYTES,
            iterations=iterations,
            lanes=lanes,
            memory_cost=memory_kib,
        ).derive(passphrase)


def seal_up(key: bytes, secret: bytes, bound: bytes) -> bytes:
    """Nonce, ciphertext and tag of `secret` under `key` (32 bytes)."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, secret, bound)


def open_sealed(key: bytes, closed: bytes, bound: bytes) -> bytes | None:
    """What `seal_up` sealed, or None where key or bytes are others."""
    try:
        return AESGCM(key).decrypt(closed[:NONCE_BYTES], closed[NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):
        return None


def _bad_lock() -> Invalid:
    hint = "restore the key file from a backup"
    return Invalid("a key file with another kind of lock", code="bad_key_file", hint=hint)
