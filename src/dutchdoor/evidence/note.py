"""Signed notes: a text and Ed25519 signatures over it, readable by people.

    any text, ending with a newline

    — example.org/log Zm9v...      em dash, space, key name, space, base64(key id || signature)

What parses here serialises to the same bytes. Source: C2SP signed-note v1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from dutchdoor.errors import Invalid
from dutchdoor.evidence.ports import Signer

__all__ = ["Note", "NoteSignature", "VerifierKey", "decode_base64", "sign_note"]

NOTE_BYTES_MAX = 1_000_000
SIGNATURES_MAX = 100
ED25519 = b"\x01"
_LINE = re.compile(r"— (\S+) ([A-Za-z0-9+/=]+)")
# NUL to US without newline, DEL, and what Python takes for a line's end or a space in \S.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class VerifierKey:
    """A log's public key under its name: what one must know to trust its notes.

    name: not empty, no space, no plus. public_key: 32 bytes, Ed25519.
    """

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """4 bytes: a short name, no proof of anything."""
        seed = self.name.encode() + b"\n" + ED25519 + self.public_key
        return hashlib.sha256(seed).digest()[:4]

    def to_text(self) -> str:
        """`name+hash+base64`, the form in which keys are published."""
        key = base64.b64encode(ED25519 + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{key}"

    @classmethod
    def from_text(cls, text: str) -> VerifierKey:
        """The key of `text` (`name+hash+base64`).

        Raises Invalid: malformed, another algorithm, or a hash that is not the key's.
        """
        name, _, rest = text.partition("+")
        _, _, encoded = rest.partition("+")
        key = decode_base64(encoded, code="bad_key")
        if not _is_name(name) or len(key) != 33 or key[:1] != ED25519:
            hint = "an Ed25519 verifier key looks like name+8 hexadecimal digits+44 characters"
            raise Invalid("not a verifier key", code="bad_key", hint=hint)
        result = cls(name, key[1:])
        if result.to_text() != text:
            raise Invalid("a verifier key whose hash is another key's", code="bad_key")
        return result


@dataclass(frozen=True)
class NoteSignature:
    """One signature line, not yet checked."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class Note:
    """A parsed note: nothing in it is trusted until `verify` has returned.

    text: ends with a newline.
    """

    text: str
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """The note of `data` (unverified bytes).

        Raises Invalid: not UTF-8, too long, control characters, or lines out of form.
        """
        if len(data) > NOTE_BYTES_MAX:
            raise Invalid("a note is too long", code="bad_note")
        try:
            whole = data.decode()
        except UnicodeDecodeError as error:
            raise Invalid("a note is not UTF-8", code="bad_note") from error
        head, gap, tail = whole.rpartition("\n\n")
        if not gap or not tail.endswith("\n") or _CONTROL.search(whole):
            raise Invalid("a note is a text, an empty line and signatures", code="bad_note")
        lines = tail[:-1].split("\n")
        if len(lines) > SIGNATURES_MAX:
            raise Invalid("a note has too many signatures", code="bad_note")
        return cls(head + "\n", tuple(_parse_line(line) for line in lines))

    def to_bytes(self) -> bytes:
        """The note's bytes."""
        lines = [
            f"— {row.name} {base64.b64encode(row.key_id + row.signature).decode()}\n"
            for row in self.signatures
        ]
        return (self.text + "\n" + "".join(lines)).encode()

    def verify(self, key: VerifierKey) -> None:
        """Check that `key` has signed the text. Signatures by other keys are ignored.

        Raises Invalid: no signature by `key`, or a wrong one.
        """
        mine = [row for row in self.signatures if (row.name, row.key_id) == (key.name, key.key_id)]
        if not mine:
            hint = "check that trust.json belongs to this log"
            raise Invalid(f"not signed by {key.name}", code="not_signed", hint=hint)
        public_key = Ed25519PublicKey.from_public_bytes(key.public_key)
        for row in mine:
            try:
                public_key.verify(row.signature, self.text.encode())
            except InvalidSignature as error:
                message = f"the signature by {key.name} is wrong"
                raise Invalid(message, code="bad_signature") from error


def sign_note(text: str, name: str, signer: Signer) -> bytes:
    """`text` as a note signed by `signer` under the key name `name`."""
    assert text.endswith("\n"), "a note's text ends with a newline"
    assert _is_name(name), "a key name has no spaces and no plus"
    key = VerifierKey(name, signer.public_key)
    row = NoteSignature(name, key.key_id, signer.sign(text.encode()))
    return Note(text, (row,)).to_bytes()


def decode_base64(text: str, *, code: str) -> bytes:
    """The bytes of `text`, which must be the one base64 form of them.

    Raises Invalid with `code`: any other text.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("not base64", code=code) from error
    if base64.b64encode(data).decode() != text:
        raise Invalid("not the canonical base64", code=code)
    return data


def _is_name(name: str) -> bool:
    return (
        bool(name)
        and "+" not in name
        and not any(c.isspace() for c in name)
        and (_CONTROL.search(name) is None)
    )


def _parse_line(line: str) -> NoteSignature:
    match = _LINE.fullmatch(line)
    if match is None or not _is_name(match[1]):
        raise Invalid("a signature line out of form", code="bad_note")
    blob = decode_base64(match[2], code="bad_note")
    if len(blob) < 5:
        raise Invalid("a signature is too short", code="bad_note")
    return NoteSignature(match[1], blob[:4], blob[4:])
