"""The messages of an opening: what a runtime asks, and what one custodian answers.

In a ceremony across machines the question travels with all that a custodian needs to judge it
(`Ceremony`), and the answer with a proof that the share is the right one (`ShareGrant`).
All are canonical JSON, so that each has one digest; all are read from unverified bytes.
`docs/spec/opening.md` shows them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from dutchdoor import canonical
from dutchdoor.custody import fields
from dutchdoor.custody.model import (
    XWING_PUBLIC_BYTES,
    CustodyLimits,
)
from dutchdoor.errors import Invalid
from dutchdoor.ids import BundleDigest, DecisionId

__all__ = ["NONCE_BYTES", "Ceremony", "OpenRequest", "ShareGrant", "ShareRelease"]

NONCE_BYTES = 32
_VERSION = 1

_Message = TypeVar("_Message")


@dataclass(frozen=True)
class OpenRequest:
    """A runtime asks for the content key of one bundle, sealed to a key only it holds.

    public_key: the runtime's ephemeral X-Wing key, 1,216 bytes. nonce: 64 hexadecimal digits.
    """

    bundle: BundleDigest
    public_key: bytes
    nonce: str
    created_ms: int
    expires_ms: int

    def encode(self) -> bytes:
        """The canonical bytes."""
        value = {"kind": "open_request", "v": _VERSION, "bundle": self.bundle}
        times = {"created_ms": self.created_ms, "expires_ms": self.expires_ms}
        key = fields.base64_text(self.public_key)
        return canonical.encode({**value, "public_key": key, "nonce": self.nonce, **times})

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hexadecimal digits: the name of exactly this request."""
        return "sha256:" + canonical.sha256_hex(self.encode())

    @property
    def runtime_key(self) -> str:
        """`sha256:` and the digest of the runtime's public key: to whom the shares go."""
        return "sha256:" + canonical.sha256_hex(self.public_key)

    @classmethod
    def decode(cls, data: bytes) -> OpenRequest:
        """The request of `data` (unverified bytes); whether it is fresh is the custodian's to say.

        Raises Invalid: too long, not canonical, or a field missing or wrong.
        """
        return _decode(data, _request, "open_request", "bad_request")


@dataclass(frozen=True)
class ShareRelease:
    """One custodian's share, sealed to the runtime that asked.

    request: digest of the request it answers. decision: the decision in force that allows it.
    custodian: key id. sealed: HPKE of the share under an `info` that binds all the rest.
    """

    bundle: BundleDigest
    request: str
    decision: DecisionId
    custodian: str
    index: int
    threshold: int
    sealed: bytes

    def encode(self) -> bytes:
        """The canonical bytes."""
        return canonical.encode({**self._bound(), "sealed": fields.base64_text(self.sealed)})

    def info(self) -> bytes:
        """What the sealed share is bound to: every other field of the message."""
        return canonical.encode(self._bound())

    @classmethod
    def decode(cls, data: bytes) -> ShareRelease:
        """The release of `data` (unverified bytes); only its opening shows that it is real.

        Raises Invalid: too long, not canonical, or a field missing or wrong.
        """
        return _decode(data, _release, "share_release", "bad_release")

    def _bound(self) -> dict[str, Any]:
        value = {"kind": "share_release", "v": _VERSION, "bundle": self.bundle}
        place = {"index": self.index, "threshold": self.threshold}
        return {
            **value,
            **place,
            "request": self.request,
            "decision": self.decision,
            "custodian": self.custodian,
        }


@dataclass(frozen=True)
class ShareGrant:
    """A release that travels by file or HTTP. release: canonical bytes of a `ShareRelease`.

    proof: by the share's own key over those bytes, 64 bytes; b"" for bundles without proof keys.
    """

    release: bytes
    proof: bytes

    def encode(self) -> bytes:
        """The canonical bytes."""
        value = {"kind": "share_grant", "v": _VERSION, "proof": fields.base64_text(self.proof)}
        return canonical.encode({**value, "release": fields.base64_text(self.release)})

    @classmethod
    def decode(cls, data: bytes) -> ShareGrant:
        """The grant of `data` (unverified bytes).

        Raises Invalid: too long, not canonical, or a field missing or wrong.
        """
        return _decode(data, _grant, "share_grant", "bad_grant")


@dataclass(frozen=True)
class Ceremony:
    """What is carried to the custodians: the request, and what they judge it by.

    request: canonical bytes of an `OpenRequest`. entry: index of its `key_requested` in the log.
    manifest, shares: of the bundle, as its holder signed them; unverified until compared.
    evidence: what the host that asks shows of itself; b"", and then left out, for nothing.
    """

    request: bytes
    entry: int
    manifest: bytes
    shares: bytes
    evidence: bytes = b""

    def encode(self) -> bytes:
        """The canonical bytes."""
        value = {"kind": "opening_ceremony", "v": _VERSION, "entry": self.entry}
        parts = {"request": self.request, "manifest": self.manifest, "shares": self.shares}
        parts |= {"evidence": self.evidence} if self.evidence else {}
        return canonical.encode(
            {**value, **{name: fields.base64_text(data) for name, data in parts.items()}}
        )

    @classmethod
    def decode(cls, data: bytes) -> Ceremony:
        """The ceremony of `data` (unverified bytes).

        Raises Invalid: too long, not canonical, or a field missing or wrong.
        """
        largest = CustodyLimits().ceremony_bytes_max
        return _decode(data, _ceremony, "opening_ceremony", "bad_ceremony", largest)


def _decode(
    data: bytes,
    read: Callable[[dict[str, Any]], _Message],
    kind: str,
    code: str,
    largest: int = CustodyLimits().message_bytes_max,
) -> _Message:
    if len(data) > largest:
        raise Invalid(f"too long for a {kind}", code=code)
    value = canonical.parse(data)
    try:
        named = (value["kind"], value["v"])
        message = read(value)
    except fields.BAD_FIELD as error:
        raise Invalid(f"not a {kind}", code=code) from error
    # What does not come out again was not understood: unknown fields are refused.
    encode: Callable[[], bytes] = message.encode  # type: ignore[attr-defined]
    if named != (kind, _VERSION) or encode() != data:
        raise Invalid(f"a {kind} of another form", code=code)
    return message


def _request(value: dict[str, Any]) -> OpenRequest:
    public_key = fields.bytes_of(value["public_key"])
    if len(public_key) != XWING_PUBLIC_BYTES:
        raise Invalid("not an X-Wing key", code="bad_request")
    return OpenRequest(
        bundle=BundleDigest(fields.digest(value["bundle"])),
        public_key=public_key,
        nonce=fields.hexadecimal(value["nonce"], 2 * NONCE_BYTES),
        created_ms=fields.count(value["created_ms"]),
        expires_ms=fields.count(value["expires_ms"]),
    )


def _release(value: dict[str, Any]) -> ShareRelease:
    return ShareRelease(
        bundle=BundleDigest(fields.digest(value["bundle"])),
        request=fields.digest(value["request"]),
        decision=DecisionId(fields.text(value["decision"])),
        custodian=fields.text(value["custodian"]),
        index=fields.count(value["index"]),
        threshold=fields.count(value["threshold"]),
        sealed=fields.bytes_of(value["sealed"]),
    )


def _grant(value: dict[str, Any]) -> ShareGrant:
    return ShareGrant(fields.bytes_of(value["release"]), fields.bytes_of(value["proof"]))


def _ceremony(value: dict[str, Any]) -> Ceremony:
    return Ceremony(
        request=fields.bytes_of(value["request"]),
        entry=fields.count(value["entry"]),
        manifest=fields.bytes_of(value["manifest"]),
        shares=fields.bytes_of(value["shares"]),
        evidence=fields.bytes_of(value["evidence"]) if "evidence" in value else b"",
    )
