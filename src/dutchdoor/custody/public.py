"""Public keys as one line of text: `dutchdoor-public-1 KIND NAME BASE64`.

A line says whose it claims to be, no more: its key id is compared with its owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dutchdoor.custody.fields import BAD_FIELD, base64_text, bytes_of
from dutchdoor.custody.model import CustodianPublic, Kem, check_name
from dutchdoor.errors import Invalid

__all__ = [
    "PUBLIC_LENGTH",
    "KeyKind",
    "PublicKey",
    "custodian_of",
    "parse_public_line",
    "public_line",
]

LINE_FORMAT = "dutchdoor-public-1"
_ED25519_BYTES = 32


class KeyKind(StrEnum):
    """What a key file holds."""

    SIGNING = "ed25519"
    CUSTODIAN = "xwing"
    CLASSICAL = "x25519"
    TOKEN = "p256"  # noqa: S105 - the kind's name, no secret
    SECRET = "secret"  # noqa: S105 - the kind's name, no secret


PUBLIC_LENGTH = {
    KeyKind.SIGNING: _ED25519_BYTES,
    KeyKind.CUSTODIAN: Kem.XWING.public_bytes,
    KeyKind.CLASSICAL: Kem.X25519.public_bytes,
    KeyKind.TOKEN: Kem.P256.public_bytes,
    KeyKind.SECRET: 0,
}
CUSTODIAN_KINDS = frozenset({KeyKind.CUSTODIAN, KeyKind.CLASSICAL, KeyKind.TOKEN})


@dataclass(frozen=True)
class PublicKey:
    """A key's public part, as one line of text carries it."""

    kind: KeyKind
    name: str
    data: bytes

    def line(self) -> str:
        """`dutchdoor-public-1 KIND NAME BASE64`, without a newline."""
        return f"{LINE_FORMAT} {self.kind} {self.name} {base64_text(self.data)}"


def public_line(public: CustodianPublic) -> str:
    """A custodian's public key as one line of text."""
    return PublicKey(KeyKind(str(public.kem)), public.name, public.public_key).line()


def custodian_of(line: PublicKey) -> CustodianPublic:
    """The custodian's public key of a public line.

    Raises Invalid: it is of another kind, for instance a signing key.
    """
    if line.kind not in CUSTODIAN_KINDS:
        message = f"a key of kind {line.kind} opens no shares"
        hint = "a custodian's public line is of kind xwing, x25519 or p256"
        raise Invalid(message, code="bad_public_key", hint=hint)
    return CustodianPublic(line.name, line.data, Kem(str(line.kind)))


def parse_public_line(text: str) -> PublicKey:
    """The public key of one line (unverified): it says whose it claims to be, no more.

    Raises Invalid: not such a line.
    """
    try:
        form, kind_text, name, encoded = text.strip().split(" ")
        kind, data = KeyKind(kind_text), bytes_of(encoded)
    except (ValueError, *BAD_FIELD) as error:
        raise _bad_line() from error
    if form != LINE_FORMAT or not data or len(data) != PUBLIC_LENGTH[kind]:
        raise _bad_line()
    return PublicKey(kind, check_name(name), data)


def _bad_line() -> Invalid:
    hint = f"a public key is one line: {LINE_FORMAT} KIND NAME BASE64"
    return Invalid("not a public key line", code="bad_public_key", hint=hint)
