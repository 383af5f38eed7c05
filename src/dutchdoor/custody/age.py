"""Keys of age, taken over as custodians' keys: X25519, and the hybrid one, which is X-Wing itself.

Source: C2SP age.md, "The X25519 recipient type" and "The hybrid ML-KEM-768 + X25519 recipient
type"; BIP 173 for the encoding; draft-connolly-cfrg-xwing-kem for the seed's expansion.
"""

from __future__ import annotations

import hashlib

from dutchdoor.custody.hpke import SEED_BYTES, X25519_SEED_BYTES
from dutchdoor.custody.model import Kem
from dutchdoor.errors import Invalid

__all__ = ["TEXT_BYTES_MAX", "read_age_identity"]

TEXT_BYTES_MAX = 16_384
_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_CHARACTERS = 6
_CLASSICAL, _HYBRID = "age-secret-key-", "age-secret-key-pq-"


def read_age_identity(text: bytes) -> tuple[Kem, bytes]:
    """The kind and the secret seeds of the one identity in `text` (an age identity file).

    Raises Invalid: none, several, one behind a passphrase or plugin, or with a typing error.
    """
    try:
        rows = [row.strip() for row in text[: TEXT_BYTES_MAX + 1].decode("ascii").splitlines()]
    except UnicodeDecodeError:
        raise _no_identity() from None
    found = [row for row in rows if row and not row.startswith("#")]
    if len(found) != 1 or len(text) > TEXT_BYTES_MAX:
        raise _no_identity()
    prefix, seed = _bech32(found[0])
    if len(seed) != X25519_SEED_BYTES or prefix not in {_CLASSICAL, _HYBRID}:
        raise _no_identity()
    if prefix == _CLASSICAL:
        return Kem.X25519, seed
    return Kem.XWING, hashlib.shake_256(seed).digest(SEED_BYTES)


def _bech32(text: str) -> tuple[str, bytes]:
    """Prefix and bytes. The errors quote nothing: the text is a secret."""
    if text.lower() != text and text.upper() != text:
        raise _no_identity()
    prefix, separator, data = text.lower().rpartition("1")
    if not separator or not prefix or len(data) < _CHECKSUM_CHARACTERS:
        raise _no_identity()
    values = [_CHARSET.find(char) for char in data]
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    if min(values) < 0 or _polymod(expanded + values) != 1:
        raise _no_identity()
    number, bits, out = 0, 0, bytearray()
    for value in values[:-_CHECKSUM_CHARACTERS]:
        number, bits = (number << 5 | value) & 0xFFF, bits + 5
        if bits >= 8:
            bits -= 8
            out.append(number >> bits & 0xFF)
    if bits >= 5 or number & ((1 << bits) - 1):
        raise _no_identity()
    return prefix, bytes(out)


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, term in enumerate(_GENERATOR):
            check ^= term if top >> place & 1 else 0
    return check


def _no_identity() -> Invalid:
    hint = "give a file with one AGE-SECRET-KEY-1… or AGE-SECRET-KEY-PQ-1…, decrypted"
    return Invalid("not one age identity", code="bad_age_identity", hint=hint)
