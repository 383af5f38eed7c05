"""Companions: small sealed files that belong to one bundle, such as the guard's probe.

A companion is sealed with the bundle's content key under a header that names the bundle and what
it is, so that it opens only where the bundle does, and only as what it was sealed as. It has the
same discipline as a sealed file: a fresh salt, keys derived over the header's hash, the commitment
checked before anything is decrypted, the header as associated data.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dutchdoor import canonical
from dutchdoor.custody.model import ContentKey
from dutchdoor.errors import Invalid, Tampered
from dutchdoor.ids import BundleDigest
from dutchdoor.weights.format import COMMITMENT_BYTES, TAG_BYTES
from dutchdoor.weights.model import SealLimits

__all__ = ["open_companion", "seal_companion"]

MAGIC = b"DDCOMP\x00\x01"
HEADER_BYTES_MAX = 4_096
_VERSION = 1
_SUITE = "A256GCM-HKDF-SHA256"
_SALT_BYTES = 32
_INFO = b"dutchdoor companion v1\x00"
_NONCE = bytes(12)  # Each companion has a key of its own, used once: the salt is fresh.
_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def seal_companion(
    content_key: ContentKey,
    bundle_digest: BundleDigest,
    label: str,
    data: bytes | bytearray | memoryview,
) -> bytes:
    """`data` sealed for this bundle as `label` (1 to 64 of `a-z 0-9 . _ -`).

    data: at most 64 MiB.
    Raises Invalid: another label, or too much data.
    """
    largest = SealLimits().companion_bytes_max
    if _LABEL.fullmatch(label) is None or len(data) > largest:
        message = f"a companion has a label of a-z, 0-9, '.', '_', '-' and at most {largest} bytes"
        raise Invalid(message, code="bad_companion", hint="shorten it")
    value = {"v": _VERSION, "suite": _SUITE, "bundle": bundle_digest, "label": label}
    salt = secrets.token_bytes(_SALT_BYTES)
    header = canonical.encode({**value, "salt": salt.hex(), "size": len(data)})
    prefix = MAGIC + len(header).to_bytes(4, "big") + header
    cipher, commitment = _derive(content_key, salt, prefix)
    sealed = cipher.encrypt(_NONCE, data, hashlib.sha256(prefix).digest())
    return prefix + commitment + sealed


def open_companion(
    content_key: ContentKey, bundle_digest: BundleDigest, label: str, sealed: bytes
) -> bytes:
    """What was sealed for this bundle as `label`.

    sealed: unverified bytes. Raises Invalid: not a companion, of another bundle or label, or not
    the bundle's key. Raises Tampered: it was changed.
    """
    if len(sealed) > SealLimits().companion_bytes_max + HEADER_BYTES_MAX + 64:
        raise _malformed()
    prefix, header = _parse(sealed)
    if header["bundle"] != bundle_digest or header["label"] != label:
        message = f"not the companion {label!r} of this bundle"
        raise Invalid(message, code="other_companion", hint="bring the right file")
    cipher, commitment = _derive(content_key, bytes.fromhex(header["salt"]), prefix)
    start = len(prefix) + COMMITMENT_BYTES
    if len(sealed) != start + header["size"] + TAG_BYTES:
        raise _changed(label)
    if not hmac.compare_digest(sealed[len(prefix) : start], commitment):
        # A changed header gives another commitment too: the two cannot be told apart.
        message = "another key, or a changed header"
        raise Tampered(message, code="companion_changed", hint="fetch it again", where="header")
    try:
        return cipher.decrypt(_NONCE, sealed[start:], hashlib.sha256(prefix).digest())
    except InvalidTag as error:
        raise _changed(label) from error


def _derive(key: ContentKey, salt: bytes, prefix: bytes) -> tuple[AESGCM, bytes]:
    info = _INFO + hashlib.sha256(prefix).digest()
    keys = bytearray(64)
    HKDF(hashes.SHA256(), length=64, salt=salt, info=info).derive_into(key.reveal(), keys)
    cipher, commitment = AESGCM(memoryview(keys)[:32]), bytes(keys[32:])
    keys[:] = bytes(64)
    return cipher, commitment


def _parse(sealed: bytes) -> tuple[bytes, dict[str, Any]]:
    length = int.from_bytes(sealed[8:12], "big")
    if sealed[:8] != MAGIC or length > HEADER_BYTES_MAX:
        raise _malformed()
    value = canonical.parse(sealed[12 : 12 + length])
    fields = {"v", "suite", "bundle", "label", "salt", "size"}
    if not isinstance(value, dict) or set(value) != fields:
        raise _malformed()
    named = (value["v"], value["suite"]) == (_VERSION, _SUITE)
    texts = all(isinstance(value[name], str) for name in ("bundle", "label", "salt"))
    if not named or not texts or re.fullmatch(r"[0-9a-f]{64}", value["salt"]) is None:
        raise _malformed()
    if isinstance(value["size"], bool) or not isinstance(value["size"], int):
        raise _malformed()
    return sealed[: 12 + length], value


def _malformed() -> Invalid:
    hint = "a companion is sealed with the bundle; fit the guard again to make one"
    return Invalid("not a sealed companion", code="bad_companion", hint=hint)


def _changed(label: str) -> Tampered:
    message = f"the companion {label!r} was changed"
    return Tampered(message, code="companion_changed", hint="fetch it again", where="data")
