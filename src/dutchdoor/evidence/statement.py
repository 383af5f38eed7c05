"""Statements: signed claims of ours, in DSSE envelopes.

The payload is canonical JSON `{"body": {...}, "kind": "...", "v": 1}`; the envelope is canonical
JSON too, with signatures ordered by key id, so that one statement has one sequence of bytes.
Source: DSSE v1.0.2 (secure-systems-lab/dsse), protocol.md and envelope.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.evidence.ports import Signer

__all__ = [
    "Statement",
    "add_signature",
    "key_id",
    "merge_signatures",
    "open_statement",
    "sign_statement",
]

PAYLOAD_TYPE = "application/vnd.dutchdoor.statement+json"
STATEMENT_VERSION = 1
SIGNATURES_MAX = 64


@dataclass(frozen=True)
class Statement:
    """A verified claim: `open_statement` is the only way in.

    signers: key ids of the trusted keys whose signatures verified, sorted.
    """

    kind: str
    body: dict[str, Any]
    signers: tuple[str, ...]


def key_id(public_key: bytes) -> str:
    """`ed25519:` and the first 16 hexadecimal digits of the key's SHA-256."""
    assert len(public_key) == 32, "an Ed25519 public key has 32 bytes"
    return "ed25519:" + hashlib.sha256(public_key).hexdigest()[:16]


def sign_statement(kind: str, body: dict[str, Any], signers: Sequence[Signer]) -> bytes:
    """The DSSE envelope of the claim, signed by each of `signers`, as canonical JSON."""
    payload = canonical.encode({"v": STATEMENT_VERSION, "kind": kind, "body": body})
    return _envelope(payload, {key_id(s.public_key): s.sign(_pae(payload)) for s in signers})


def add_signature(envelope: bytes, signer: Signer) -> bytes:
    """`envelope` with one more signature over the same payload; signing twice changes nothing.

    Raises Invalid: `envelope` is not an envelope of ours.
    """
    payload, signatures = _open_envelope(envelope)
    signatures[key_id(signer.public_key)] = signer.sign(_pae(payload))
    return _envelope(payload, signatures)


def merge_signatures(envelope: bytes, other: bytes) -> bytes:
    """`envelope` with the signatures of `other` beside its own; none of them is checked here.

    Raises Invalid: one is not an envelope of ours, they hold different payloads, or two different
    signatures by one key.
    """
    payload, signatures = _open_envelope(envelope)
    other_payload, others = _open_envelope(other)
    if payload != other_payload:
        raise Invalid("envelopes of two different statements", code="other_statement")
    for name, signature in others.items():
        if signatures.setdefault(name, signature) != signature:
            raise Invalid(f"two signatures by {name} differ", code="bad_signature")
    return _envelope(payload, signatures)


def open_statement(
    envelope: bytes, *, kind: str, keys: Mapping[str, bytes], signatures_min: int
) -> Statement:
    """The claim in `envelope` (unverified bytes), once enough trusted keys have signed it.

    keys: trusted Ed25519 public keys by key id; they come from configuration, never from the
    envelope. Signatures by other keys are ignored; a wrong signature by a trusted key is fatal.
    Raises Invalid: malformed, another kind, a wrong signature, or fewer than `signatures_min`.
    """
    assert signatures_min >= 1, "an unsigned statement is no statement"
    payload, signatures = _open_envelope(envelope)
    signers = []
    for name, signature in signatures.items():
        if name not in keys:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(keys[name]).verify(signature, _pae(payload))
        except InvalidSignature as error:
            raise Invalid(f"the signature by {name} is wrong", code="bad_signature") from error
        signers.append(name)
    if len(signers) < signatures_min:
        message = f"{len(signers)} trusted signatures, {signatures_min} are needed"
        hint = "collect the missing signatures, or check the keys in trust.json"
        raise Invalid(message, code="too_few_signatures", hint=hint)
    value = canonical.parse(payload)
    if not isinstance(value, dict) or set(value) != {"v", "kind", "body"}:
        raise Invalid("not a statement", code="bad_statement")
    if value["v"] != STATEMENT_VERSION or not isinstance(value["body"], dict):
        raise Invalid("not a statement of version 1", code="bad_statement")
    if value["kind"] != kind:
        raise Invalid(f"a statement of another kind than {kind}", code="bad_statement")
    return Statement(kind, value["body"], tuple(sorted(signers)))


def _pae(payload: bytes) -> bytes:
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _envelope(payload: bytes, signatures: Mapping[str, bytes]) -> bytes:
    rows = [
        {"keyid": name, "sig": base64.b64encode(signature).decode()}
        for name, signature in sorted(signatures.items())
    ]
    encoded = base64.b64encode(payload).decode()
    return canonical.encode({"payload": encoded, "payloadType": PAYLOAD_TYPE, "signatures": rows})


def _open_envelope(envelope: bytes) -> tuple[bytes, dict[str, bytes]]:
    value = canonical.parse(envelope)
    try:
        if value["payloadType"] != PAYLOAD_TYPE or set(value) != {
            "payload",
            "payloadType",
            "signatures",
        }:
            raise Invalid("an envelope of another type", code="bad_statement")
        payload = base64.b64decode(value["payload"], validate=True)
        rows = value["signatures"]
        signatures = {
            str(row["keyid"]): base64.b64decode(row["sig"], validate=True) for row in rows
        }
    except (KeyError, TypeError, AttributeError, binascii.Error, ValueError) as error:
        raise Invalid("not a signed envelope", code="bad_statement") from error
    if len(signatures) != len(rows) or len(rows) > SIGNATURES_MAX:
        raise Invalid("repeated or too many signatures", code="bad_statement")
    # One statement has one sequence of bytes: no other order, base64, or field beside.
    if _envelope(payload, signatures) != envelope:
        raise Invalid("an envelope in another form than ours", code="bad_statement")
    return payload, signatures
