"""The bytes of a TPM 2.0: a quote, its signature, and the public part of the key that signed it.

Big-endian structures with 16-bit lengths. Each reader takes exactly the whole of its bytes: what is
left over was not understood, and is refused.
Source: TCG, TPM 2.0 Library, part 2, revision 1.59: 10.12.8 TPMS_ATTEST, 10.12.1 TPMS_QUOTE_INFO,
11.3.4 TPMT_SIGNATURE, 12.2.4 TPMT_PUBLIC, 8.3 TPMA_OBJECT.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dutchdoor.errors import Invalid

__all__ = [
    "HASHES",
    "PublicArea",
    "Quote",
    "Signature",
    "read_public",
    "read_quote",
    "read_signature",
]

ALG_RSA, ALG_NULL, ALG_RSASSA, ALG_RSAPSS, ALG_ECDSA, ALG_ECC = (
    0x0001, 0x0010, 0x0014, 0x0016, 0x0018, 0x0023,
)  # fmt: skip
HASHES = {0x000B: "sha256", 0x000C: "sha384", 0x000D: "sha512"}
"""TPM_ALG_ID of the hashes that count here; SHA-1 is not among them."""
CURVES = {0x0003: "p256", 0x0004: "p384"}

_MAGIC, _ST_ATTEST_QUOTE = 0xFF544347, 0x8018
_SELECTIONS_MAX, _SELECT_BYTES_MAX = 16, 4
_SIZED_BYTES_MAX = 1_024
_PARSED = TypeVar("_PARSED")


@dataclass(frozen=True)
class Quote:
    """A TPMS_ATTEST of a quote. pcrs: selected registers by bank, ascending.

    extra: what the caller asked to be quoted over. clock_safe: the TPM's clock never ran backwards.
    """

    signer: bytes
    extra: bytes
    reset_count: int
    restart_count: int
    clock_safe: bool
    firmware: int
    pcrs: tuple[tuple[str, tuple[int, ...]], ...]
    pcr_digest: bytes


@dataclass(frozen=True)
class Signature:
    """A TPMT_SIGNATURE. scheme: `rsassa`, `rsapss` or `ecdsa`. values: one, or r and s."""

    scheme: str
    hash: str
    values: tuple[bytes, ...]


@dataclass(frozen=True)
class PublicArea:
    """A TPMT_PUBLIC. kind: `rsa` or `ecc`. values: the modulus, or x and y."""

    kind: str
    attributes: int
    scheme: str
    hash: str
    curve: str
    exponent: int
    values: tuple[bytes, ...]


class _Reader:
    """Reads forwards and never beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise _cut()
        piece = self._data[self._at : self._at + size]
        self._at += size
        return piece

    def number(self, form: str) -> int:
        return int(struct.unpack(">" + form, self.take(struct.calcsize(">" + form)))[0])

    def sized(self) -> bytes:
        size = self.number("H")
        if size > _SIZED_BYTES_MAX:
            raise _cut()
        return self.take(size)

    def end(self) -> None:
        if self._at != len(self._data):
            raise _cut()


def read_quote(data: bytes) -> Quote:
    """The quote of `data` (a TPMS_ATTEST, unverified).

    Raises Invalid: cut short, longer than itself, or no quote of a TPM.
    """
    return _whole(data, _quote)


def read_signature(data: bytes) -> Signature:
    """The signature of `data` (a TPMT_SIGNATURE, unverified).

    Raises Invalid: cut short, longer than itself, or of another scheme or hash.
    """
    return _whole(data, _signature)


def read_public(data: bytes) -> PublicArea:
    """The public area of `data` (a TPMT_PUBLIC, unverified).

    Raises Invalid: cut short, longer than itself, or of another kind.
    """
    return _whole(data, _public)


def _whole(data: bytes, read: Callable[[_Reader], _PARSED]) -> _PARSED:
    reader = _Reader(data)
    found = read(reader)
    reader.end()
    return found


def _quote(reader: _Reader) -> Quote:
    # The magic is what a restricted key never signs for anybody else.
    if (reader.number("I"), reader.number("H")) != (_MAGIC, _ST_ATTEST_QUOTE):
        message = "the TPM signed something else than a quote"
        raise Invalid(message, code="bad_quote", hint="let the host make its evidence again")
    signer, extra = reader.sized(), reader.sized()
    reader.number("Q")
    resets, restarts, safe = reader.number("I"), reader.number("I"), reader.number("B")
    firmware = reader.number("Q")
    count = reader.number("I")
    if count > _SELECTIONS_MAX:
        raise _cut()
    pcrs = tuple(_selection(reader) for _ in range(count))
    return Quote(signer, extra, resets, restarts, safe == 1, firmware, pcrs, reader.sized())


def _selection(reader: _Reader) -> tuple[str, tuple[int, ...]]:
    bank, size = _hash(reader.number("H")), reader.number("B")
    if size > _SELECT_BYTES_MAX:
        raise _cut()
    bits = int.from_bytes(reader.take(size), "little")
    return bank, tuple(number for number in range(8 * size) if bits >> number & 1)


def _signature(reader: _Reader) -> Signature:
    schemes = {ALG_RSASSA: ("rsassa", 1), ALG_RSAPSS: ("rsapss", 1), ALG_ECDSA: ("ecdsa", 2)}
    number = reader.number("H")
    if number not in schemes:
        raise _unknown("signature scheme")
    scheme, count = schemes[number]
    name = _hash(reader.number("H"))
    return Signature(scheme, name, tuple(reader.sized() for _ in range(count)))


def _public(reader: _Reader) -> PublicArea:
    kind, name_hash = reader.number("H"), _hash(reader.number("H"))
    if kind not in {ALG_RSA, ALG_ECC} or name_hash != "sha256":
        raise _unknown("key")
    attributes = reader.number("I")
    reader.sized()
    # A key that encrypts has a cipher here; one that only signs has none.
    if reader.number("H") != ALG_NULL:
        raise _unknown("key, one that decrypts")
    schemes = {ALG_RSASSA: "rsassa", ALG_RSAPSS: "rsapss", ALG_ECDSA: "ecdsa"}
    number = reader.number("H")
    if number not in schemes or (kind == ALG_ECC) != (number == ALG_ECDSA):
        raise _unknown("signature scheme")
    name = _hash(reader.number("H"))
    if kind == ALG_RSA:
        reader.number("H")
        exponent = reader.number("I") or 65_537
        return PublicArea("rsa", attributes, schemes[number], name, "", exponent, (reader.sized(),))
    curve = CURVES.get(reader.number("H"), "")
    if not curve or reader.number("H") != ALG_NULL:
        raise _unknown("curve")
    values = (reader.sized(), reader.sized())
    return PublicArea("ecc", attributes, schemes[number], name, curve, 0, values)


def _hash(number: int) -> str:
    if number not in HASHES:
        raise _unknown("hash")
    return HASHES[number]


def _cut() -> Invalid:
    message = "a structure of a TPM that is cut short or too long"
    return Invalid(message, code="bad_quote", hint="let the host make its evidence again")


def _unknown(what: str) -> Invalid:
    message = f"a structure of a TPM with a {what} that is not known here"
    hint = "make the host's key with 'dutchdoor custody host-key'"
    return Invalid(message, code="bad_quote", hint=hint)
