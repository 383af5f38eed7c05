"""A drill: each custodian proves that it still has its share, and shows it to nobody.

The question names the bundle and its split; the answer is a signature by the share's own key
(`custody.proof`). As many different proofs as the threshold say that the quorum can open: the
manifest's holder signed the proof keys when the key was split.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dutchdoor import canonical
from dutchdoor.clock import Clock
from dutchdoor.custody import fields
from dutchdoor.custody.model import CustodyLimits
from dutchdoor.custody.proof import SIGNATURE_BYTES, is_proven, prove
from dutchdoor.custody.shares import WrappedShares
from dutchdoor.errors import Invalid, Refused
from dutchdoor.ids import BundleDigest

__all__ = ["PERIOD_MS", "DrillProof", "DrillRequest", "check_proofs"]

_DAY_MS = 86_400_000
PERIOD_MS = 91 * _DAY_MS
"""How long a drill is good for: once a quarter, somebody looks for their key."""
LIFETIME_MS_MAX = 7 * _DAY_MS
_VERSION = 1
_NONCE_BYTES = 32


@dataclass(frozen=True)
class DrillRequest:
    """The question of a drill. shares: digest of the split. nonce: 64 hexadecimal digits."""

    bundle: BundleDigest
    shares: str
    nonce: str
    created_ms: int
    expires_ms: int

    @classmethod
    def new(
        cls, shares: WrappedShares, clock: Clock, lifetime_ms: int = LIFETIME_MS_MAX
    ) -> DrillRequest:
        """A new question to the custodians of `shares`.

        Raises Refused: the bundle has no proof keys.
        """
        if not shares.proves:
            message = "this bundle was sealed before drills: its shares have no proof keys"
            hint = "wrap them anew, to the same custodians if you like: dutchdoor custody rotate"
            raise Refused(message, code="no_proof_keys", hint=hint)
        now_ms = clock.now_ms()
        nonce = secrets.token_hex(_NONCE_BYTES)
        return cls(shares.bundle, shares.digest, nonce, now_ms, now_ms + lifetime_ms)

    def encode(self) -> bytes:
        """The canonical bytes."""
        value = {"kind": "custody_drill", "v": _VERSION, "bundle": self.bundle}
        times = {"created_ms": self.created_ms, "expires_ms": self.expires_ms}
        return canonical.encode({**value, "shares": self.shares, "nonce": self.nonce, **times})

    @property
    def digest(self) -> str:
        """The name of exactly this drill."""
        return "sha256:" + canonical.sha256_hex(self.encode())

    @classmethod
    def decode(cls, data: bytes) -> DrillRequest:
        """The question of `data` (unverified bytes). Raises Invalid: not one."""
        value = _parse(data, "custody_drill")
        try:
            drill = cls(
                BundleDigest(fields.digest(value["bundle"])),
                fields.digest(value["shares"]),
                fields.hexadecimal(value["nonce"], 2 * _NONCE_BYTES),
                fields.count(value["created_ms"]),
                fields.count(value["expires_ms"]),
            )
        except fields.BAD_FIELD as error:
            raise Invalid("not a drill", code="bad_drill") from error
        if drill.encode() != data:
            raise Invalid("a drill of another form", code="bad_drill")
        return drill

    def check(self, shares: WrappedShares, now_ms: int) -> None:
        """Raises Refused: the drill is over, from the future, or about another split."""
        early = self.created_ms > now_ms + CustodyLimits().clock_skew_ms_max
        if early or not 0 < self.expires_ms - self.created_ms <= LIFETIME_MS_MAX:
            message = "the drill is from the future, or lives too long"
            raise Refused(message, code="request_not_fresh", hint="set the clocks right")
        if now_ms >= self.expires_ms:
            raise Refused("the drill is over", code="request_expired", hint="begin another")
        if (self.bundle, self.shares) != (shares.bundle, shares.digest):
            message = "the drill is about another bundle, or about custodians before or after these"
            hint = "bring the bundle's newest manifest.json and shares.json"
            raise Refused(message, code="other_bundle", hint=hint)


@dataclass(frozen=True)
class DrillProof:
    """One custodian's answer. drill: digest of the question. proof: 64 bytes."""

    drill: str
    custodian: str
    proof: bytes

    @classmethod
    def make(cls, drill: DrillRequest, custodian: str, words: str) -> DrillProof:
        """The answer of the custodian with this share."""
        return cls(drill.digest, custodian, prove(words, _about(drill.digest, custodian)))

    def encode(self) -> bytes:
        """The canonical bytes."""
        value = {"kind": "custody_proof", "v": _VERSION, "drill": self.drill}
        proof = fields.base64_text(self.proof)
        return canonical.encode({**value, "custodian": self.custodian, "proof": proof})

    @classmethod
    def decode(cls, data: bytes) -> DrillProof:
        """The answer of `data` (unverified bytes). Raises Invalid: not one."""
        value = _parse(data, "custody_proof")
        try:
            proof = cls(
                fields.digest(value["drill"]),
                fields.text(value["custodian"]),
                fields.bytes_of(value["proof"]),
            )
        except fields.BAD_FIELD as error:
            raise Invalid("not a proof", code="bad_proof") from error
        if proof.encode() != data or len(proof.proof) != SIGNATURE_BYTES:
            raise Invalid("a proof of another form", code="bad_proof")
        return proof


def check_proofs(
    drill: DrillRequest, shares: WrappedShares, proofs: Sequence[bytes]
) -> tuple[str, ...]:
    """The key ids of the custodians who proved their shares, in the order of the shares.

    proofs: unverified bytes. Raises Invalid: malformed, of another drill, repeated, or wrong.
    Raises Refused: by no custodian of this bundle.
    """
    proven: set[str] = set()
    for data in proofs:
        proof = DrillProof.decode(data)
        if proof.drill != drill.digest:
            message = f"the proof of {proof.custodian} answers another drill"
            raise Invalid(message, code="other_request", hint="ask for an answer to this one")
        share = shares.of(proof.custodian)
        if proof.custodian in proven:
            message = f"the proof of {share.name} was given twice"
            raise Invalid(message, code="duplicate_custodian", hint="give each proof once")
        if not is_proven(share.proof, _about(drill.digest, proof.custodian), proof.proof):
            message = f"{share.name} did not prove its share: the proof is wrong"
            hint = "the custodian's key opens another share, or the proof was changed"
            raise Invalid(message, code="wrong_proof", hint=hint)
        proven.add(proof.custodian)
    return tuple(share.custodian for share in shares.shares if share.custodian in proven)


def _about(drill: str, custodian: str) -> bytes:
    return canonical.encode({"drill": drill, "custodian": custodian})


def _parse(data: bytes, kind: str) -> dict[str, Any]:
    if len(data) > CustodyLimits().message_bytes_max:
        raise Invalid("too long for a drill", code="bad_drill")
    value = canonical.parse(data)
    if not isinstance(value, dict) or (value.get("kind"), value.get("v")) != (kind, _VERSION):
        raise Invalid(f"not a {kind} of version {_VERSION}", code="bad_drill")
    return value
