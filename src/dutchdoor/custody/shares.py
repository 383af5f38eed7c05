"""A content key split among custodians: any `threshold` of them together have it, fewer nothing.

Shares are SLIP-39 mnemonics (33 words, so that a custodian can also keep one on paper). SLIP-39
checks 4 bytes of a digest; behind it stands our own 32-byte key commitment, so that wrong or
mixed shares are detected and never combined silently. Each share is wrapped with HPKE to one
custodian and bound to the bundle, the custodian, its index and the threshold: it cannot be moved.
Source: SLIP-0039; RFC 9180.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share as SlipShare

from dutchdoor import canonical
from dutchdoor.custody import fields
from dutchdoor.custody.hpke import seal_to
from dutchdoor.custody.model import (
    CONTENT_KEY_BYTES,
    ContentKey,
    CustodianPublic,
    CustodyLimits,
)
from dutchdoor.custody.ports import Identity
from dutchdoor.custody.proof import PROOF_BYTES, proof_key
from dutchdoor.errors import Invalid, Refused, Tampered
from dutchdoor.ids import BundleDigest

__all__ = [
    "Share",
    "WrappedShare",
    "WrappedShares",
    "combine",
    "key_commitment",
    "parse_quorum",
    "split",
    "unwrap_share",
    "wrap_shares",
]

_COMMITMENT_INFO = b"dutchdoor content key commitment v1"
# Version 2 has a proof key beside each share; the wrapping itself is the same.
_VERSIONS = {False: 1, True: 2}
_WRAP_VERSION = 1


@dataclass(frozen=True, repr=False)
class Share:
    """One share of a content key, secret. index: 0 to 15. words: the SLIP-39 mnemonic."""

    index: int
    threshold: int
    words: str

    def __repr__(self) -> str:
        return f"Share(index={self.index}, threshold={self.threshold}, secret words)"


@dataclass(frozen=True)
class WrappedShare:
    """One share, sealed to one custodian. custodian: its key id. name: for people.

    proof: the share's public key (`custody.proof`), 32 bytes; b"" in bundles of version 1.
    """

    custodian: str
    name: str
    index: int
    sealed: bytes
    proof: bytes = b""


@dataclass(frozen=True)
class WrappedShares:
    """The shares of one bundle's key, as `shares.json` holds them.

    commitment: 64 hexadecimal digits; where it matters it is compared with the signed manifest's.
    """

    bundle: BundleDigest
    commitment: str
    threshold: int
    shares: tuple[WrappedShare, ...]

    def of(self, custodian: str) -> WrappedShare:
        """The share of the custodian with this key id.

        Raises Refused: none was wrapped to it.
        """
        for share in self.shares:
            if share.custodian == custodian:
                return share
        message = f"{custodian} holds no share of {self.bundle}"
        hint = "ask one of the custodians that the bundle's manifest names"
        raise Refused(message, code="not_a_custodian", hint=hint)

    @property
    def proves(self) -> bool:
        """Whether custodians can prove their shares: the bundle has proof keys."""
        return all(share.proof for share in self.shares)

    @property
    def digest(self) -> str:
        """The name of exactly this split, as the manifest has it."""
        return "sha256:" + canonical.sha256_hex(self.encode())

    def encode(self) -> bytes:
        """The canonical bytes of `shares.json`."""
        proves = self.proves
        rows = [
            {
                "custodian": share.custodian,
                "name": share.name,
                "index": share.index,
                "sealed": fields.base64_text(share.sealed),
                **({"proof": fields.base64_text(share.proof)} if proves else {}),
            }
            for share in self.shares
        ]
        value = {"v": _VERSIONS[proves], "bundle": self.bundle, "commitment": self.commitment}
        return canonical.encode({**value, "threshold": self.threshold, "shares": rows})

    @classmethod
    def decode(cls, data: bytes) -> WrappedShares:
        """The shares of `data` (unverified bytes).

        Raises Invalid: not canonical, a field missing or of the wrong type, or a repeated
        custodian or index.
        """
        if len(data) > CustodyLimits().shares_file_bytes_max:
            raise Invalid("the shares are too long", code="bad_shares")
        value = canonical.parse(data)
        try:
            wrapped = _from_value(value)
        except fields.BAD_FIELD as error:
            raise Invalid("not the shares of a bundle", code="bad_shares") from error
        if wrapped.encode() != data:
            raise Invalid("shares of another form", code="bad_shares")
        check_quorum(wrapped.threshold, len(wrapped.shares))
        if len({share.custodian for share in wrapped.shares}) != len(wrapped.shares):
            raise Invalid("a custodian is named twice", code="duplicate_custodian")
        if [share.index for share in wrapped.shares] != list(range(len(wrapped.shares))):
            raise Invalid("the shares are out of order", code="bad_shares")
        return wrapped


def parse_quorum(text: str) -> tuple[int, int]:
    """Threshold and count of `2of3`.

    Raises Invalid: not such a text, or no quorum that can be split.
    """
    left, middle, right = text.partition("of")
    if not middle or not (left.isdecimal() and right.isdecimal()) or len(text) > 6:
        raise Invalid("not a quorum", code="bad_quorum", hint="write it as 2of3")
    check_quorum(int(left), int(right))
    return int(left), int(right)


def check_quorum(threshold: int, count: int) -> None:
    """Raises Invalid where a key cannot be split `threshold` of `count`."""
    largest = CustodyLimits().custodians_max
    if not 1 <= threshold <= count <= largest:
        hint = f"at most {largest} custodians, and no more must agree than there are"
        raise Invalid("no such quorum", code="bad_quorum", hint=hint)
    if threshold == 1 and count > 1:
        # Each of several holders of the whole key could open it alone: that is not a quorum.
        message = "one of several is no quorum"
        raise Invalid(message, code="bad_quorum", hint="let at least two custodians agree")


def key_commitment(key: ContentKey) -> str:
    """64 hexadecimal digits that name exactly this key and tell nothing else about it."""
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_COMMITMENT_INFO)
    return derived.derive(key.reveal()).hex()


def split(key: ContentKey, *, threshold: int, count: int) -> tuple[Share, ...]:
    """`count` shares of `key`, any `threshold` of which give it back.

    Raises Invalid: no such quorum.
    """
    check_quorum(threshold, count)
    # Exponent 0: the secret is 256 random bits, stretching a passphrase would guard nothing.
    groups = generate_mnemonics(
        1, [(threshold, count)], bytes(key.reveal()), extendable=True, iteration_exponent=0
    )
    return tuple(Share(index, threshold, words) for index, words in enumerate(groups[0]))


def combine(shares: Sequence[Share], commitment: str) -> ContentKey:
    """The key of at least `threshold` distinct shares, if it is the committed one.

    commitment: from the signed manifest, never from whoever brought the shares.
    Raises Refused: fewer shares than the quorum. Raises Tampered: wrong or mixed shares.
    """
    thresholds = {share.threshold for share in shares}
    indices = {share.index for share in shares}
    if len(indices) != len(shares):
        raise Invalid("a share was given twice", code="duplicate_custodian")
    if not shares or len(shares) < max(thresholds):
        needed = max(thresholds, default=1)
        message = f"{len(shares)} shares, {needed} are needed"
        hint = "ask more custodians"
        raise Refused(message, code="no_quorum", hint=hint)
    if len(thresholds) != 1:
        raise _wrong_shares()
    chosen = [share.words for share in shares[: thresholds.pop()]]
    try:
        data = combine_mnemonics(chosen)
    except (MnemonicError, ValueError, IndexError):
        # The cause is cut: its text quotes words of the share.
        raise _wrong_shares() from None
    if len(data) != CONTENT_KEY_BYTES:
        raise _wrong_shares()
    key = ContentKey(data)
    if not hmac.compare_digest(key_commitment(key), commitment):
        key.wipe()
        raise _wrong_shares()
    return key


def wrap_shares(
    key: ContentKey,
    *,
    bundle: BundleDigest,
    custodians: Sequence[CustodianPublic],
    threshold: int,
) -> WrappedShares:
    """The key split among `custodians`, each share sealed to one of them.

    Raises Invalid: no such quorum, a custodian named twice, or not a public key.
    """
    if len({custodian.key_id for custodian in custodians}) != len(custodians):
        message = "a custodian is named twice"
        hint = "each custodian holds one share: name different keys"
        raise Invalid(message, code="duplicate_custodian", hint=hint)
    parts = split(key, threshold=threshold, count=len(custodians))
    wrapped = tuple(
        WrappedShare(
            custodian.key_id,
            custodian.name,
            share.index,
            seal_to(
                custodian.public_key,
                share.words.encode(),
                _wrap_info(bundle, custodian.key_id, share.index, threshold),
                custodian.kem,
            ),
            proof_key(share.words),
        )
        for custodian, share in zip(custodians, parts, strict=True)
    )
    return WrappedShares(bundle, key_commitment(key), threshold, wrapped)


def unwrap_share(wrapped: WrappedShares, key: Identity) -> Share:
    """The share that was wrapped to this custodian.

    Raises Refused: none was. Raises Tampered: it was changed, or belongs to another bundle.
    """
    row = wrapped.of(key.key_id)
    info = _wrap_info(wrapped.bundle, row.custodian, row.index, wrapped.threshold)
    data = key.open(row.sealed, info)
    if data is None:
        raise Tampered(
            f"the share of {key.name} does not open",
            code="share_unopened",
            hint="restore shares.json from where the bundle was published",
            where=f"shares.json, index {row.index}",
        )
    return read_share(data, index=row.index, threshold=wrapped.threshold)


def read_share(data: bytes, *, index: int, threshold: int) -> Share:
    """The share of opened bytes, which must be the share of this index and threshold.

    Raises Tampered: not a mnemonic, or of another index or threshold than said.
    """
    try:
        words = data.decode("ascii")
        slip = SlipShare.from_mnemonic(words)
    except (MnemonicError, ValueError, IndexError):
        raise _wrong_shares() from None
    if slip.index != index or slip.member_threshold != threshold:
        raise _wrong_shares()
    return Share(index, threshold, words)


def _wrap_info(bundle: BundleDigest, custodian: str, index: int, threshold: int) -> bytes:
    value = {"kind": "dutchdoor wrapped share", "v": _WRAP_VERSION, "bundle": bundle}
    return canonical.encode(
        {**value, "custodian": custodian, "index": index, "threshold": threshold}
    )


def _wrong_shares() -> Tampered:
    return Tampered(
        "the shares do not give the committed key",
        code="wrong_shares",
        hint="one share is wrong or of another bundle: ask other custodians",
        where="shares",
    )


def _proof(row: dict[str, Any]) -> bytes:
    if "proof" not in row:
        return b""
    proof = fields.bytes_of(row["proof"])
    if len(proof) != PROOF_BYTES:
        raise Invalid("not a proof key", code="bad_shares")
    return proof


def _from_value(value: Any) -> WrappedShares:
    rows = tuple(
        WrappedShare(
            fields.text(row["custodian"]),
            fields.text(row["name"]),
            fields.count(row["index"]),
            fields.bytes_of(row["sealed"]),
            _proof(row),
        )
        for row in value["shares"]
    )
    commitment = fields.hexadecimal(value["commitment"], 64)
    return WrappedShares(
        BundleDigest(fields.digest(value["bundle"])),
        commitment,
        fields.count(value["threshold"]),
        rows,
    )
