"""What is trusted, and what it has signed: trust.json, signed notes, DSSE envelopes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from dutchdoor import canonical
from dutchdoor.errors import Invalid

__all__ = ["Head", "Trusted", "open_claim", "open_head", "read_trust", "unbase64"]

PAYLOAD_TYPE = "application/vnd.dutchdoor.statement+json"
_HEAD = re.compile(
    r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n\n((?:— [^\n ]+ [A-Za-z0-9+/=]+\n)+)"
)


@dataclass(frozen=True)
class Trusted:
    """The keys of trust.json. holder, approvers, auditors, outside: Ed25519 public keys by
    key id. outside: of those who decide nothing alone, and whose signature a decision may demand.
    """

    origin: str
    log: bytes
    holder: Mapping[str, bytes]
    approvers: Mapping[str, bytes]
    approvals_min: int
    auditors: Mapping[str, bytes]
    outside: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def auditing(self) -> Mapping[str, bytes]:
        """Whose signature makes what an audit gives: auditors', or without any all others'."""
        return self.auditors or {**self.holder, **self.approvers}


class Head(NamedTuple):
    """A checkpoint whose signature verified."""

    size: int
    root: bytes


def read_trust(data: bytes) -> Trusted:
    """The keys in `data`. Raises Invalid: it is no trust file."""
    try:
        value = json.loads(data.decode())
        name, digest, encoded = value["log"].split("+", 2)
        key = unbase64(encoded)
        holder = {str(n): unbase64(k) for n, k in value["holder"].items()}
        approvers = {str(n): unbase64(k) for n, k in value["approvers"].items()}
        auditors = {str(n): unbase64(k) for n, k in value["auditors"].items()}
        outside = {str(n): unbase64(k) for n, k in value.get("outside", {}).items()}
        minimum = value["approvals_min"]
        insiders = {*holder, *approvers, *auditors}
        fits = (
            value["v"] == 1
            and type(minimum) is int
            and minimum >= 1
            and len(key) == 33
            and key[0] == 1
            and _note_key_id(name, key[1:]).hex() == digest
            and all(
                len(k) == 32 and n == "ed25519:" + hashlib.sha256(k).hexdigest()[:16]
                for part in (holder, approvers, auditors, outside)
                for n, k in part.items()
            )
            and not insiders & set(outside)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Invalid("not a trust file", code="bad_trust") from error
    if not fits:
        raise Invalid("a trust file with wrong values", code="bad_trust")
    return Trusted(name, key[1:], holder, approvers, minimum, auditors, outside)


def open_head(data: bytes, trusted: Trusted) -> Head:
    """The checkpoint in the signed note `data`, signed by the trusted log. Raises Invalid."""
    try:
        match = _HEAD.fullmatch(data.decode())
    except UnicodeDecodeError as error:
        raise Invalid("the checkpoint is not UTF-8", code="bad_checkpoint") from error
    if match is None:
        raise Invalid("the checkpoint is out of form", code="bad_checkpoint")
    if match[1] != trusted.origin:
        raise Invalid("the checkpoint is another log's", code="bad_checkpoint")
    text = f"{match[1]}\n{match[2]}\n{match[3]}\n".encode()
    mine = 0
    for line in match[4].splitlines():
        _, name, encoded = line.split(" ")
        blob = unbase64(encoded)
        if name == trusted.origin and blob[:4] == _note_key_id(name, trusted.log):
            _check(trusted.log, blob[4:], text, "the checkpoint's signature is wrong")
            mine += 1
    if mine != 1:
        raise Invalid("the checkpoint is not signed by the log", code="not_signed")
    return Head(int(match[2]), unbase64(match[3]))


def open_claim(data: bytes, kind: str, keys: Mapping[str, bytes], least: int) -> dict[str, Any]:
    """The body of the statement in the envelope `data`, signed by `least` of `keys`.

    Raises Invalid: malformed, another kind, or fewer signatures; a wrong one counts against all.
    """
    envelope = canonical.parse(data)
    try:
        if envelope["payloadType"] != PAYLOAD_TYPE or len(envelope) != 3:
            raise Invalid("an envelope of another type", code="bad_statement")
        payload = unbase64(envelope["payload"])
        rows = envelope["signatures"]
        signatures = {row["keyid"]: unbase64(row["sig"]) for row in rows}
        ordered = all(len(row) == 2 for row in rows) and list(signatures) == sorted(signatures)
        statement = canonical.parse(payload)
        body = statement["body"]
        fits = (statement["v"], statement["kind"], len(statement)) == (1, kind, 3)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise Invalid("not a signed statement", code="bad_statement") from error
    if not fits or not ordered or not isinstance(body, dict) or len(rows) != len(signatures):
        raise Invalid("not a signed statement of this kind", code="bad_statement")
    signed = b"DSSEv1 %d %b %d %b" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode(),
        len(payload),
        payload,
    )
    known = [name for name in signatures if name in keys]
    for name in known:
        _check(keys[name], signatures[name], signed, f"the signature by {name} is wrong")
    if len(known) < least:
        message = f"{len(known)} trusted signatures, {least} are needed"
        raise Invalid(message, code="too_few_signatures")
    return body


def unbase64(text: str) -> bytes:
    """The bytes of `text`, which must be their one base64 form. Raises Invalid."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("not base64", code="bad_base64") from error
    if base64.b64encode(data).decode() != text:
        raise Invalid("not the one base64 form", code="bad_base64")
    return data


def _note_key_id(name: str, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4]


def _check(key: bytes, signature: bytes, data: bytes, message: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except InvalidSignature as error:
        raise Invalid(message, code="bad_signature") from error
