"""The manifest of a sealed bundle: what anybody may see of it, signed by its holder.

`Content` is what the bundle digest names: everything that determines an inference. `Custody` says
who opens it; it is signed but outside the digest, so that shares can be wrapped anew to other
custodians without touching the data or any decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dutchdoor import canonical
from dutchdoor.custody import fields
from dutchdoor.custody.opening import QuorumTerms
from dutchdoor.errors import Invalid
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.statement import open_statement, sign_statement
from dutchdoor.ids import BundleDigest
from dutchdoor.weights.format import SUITE

__all__ = [
    "BUNDLE_KIND",
    "MANIFEST_NAME",
    "SHARES_NAME",
    "Change",
    "Content",
    "Custody",
    "Manifest",
    "Progress",
    "Report",
    "SealLimits",
    "Sealed",
    "SealedFile",
    "sealed_name",
]

BUNDLE_KIND = "sealed_bundle"
MANIFEST_NAME = "manifest.json"
SHARES_NAME = "shares.json"
COMPANION_SUFFIX = ".companion"
FORMAT = "dutchdoor-sealed-bundle-1"


@dataclass(frozen=True)
class SealLimits:
    """How much a bundle may hold.

    files_max: also the open files of a reader. name_bytes_max: of a relative path, in UTF-8.
    """

    files_max: int = 4_096
    name_bytes_max: int = 512
    model_name_chars_max: int = 128
    manifest_bytes_max: int = 8 << 20
    companion_bytes_max: int = 64 << 20


@dataclass(frozen=True)
class SealedFile:
    """One sealed file as the manifest knows it. The name tells nothing: `0000.sealed`.

    bytes: of the whole file. head: digest of its head. slots: how many. ciphertext: digest of
    its footer, which holds the digest of every region.
    """

    name: str
    bytes: int
    head: str
    slots: int
    ciphertext: str


@dataclass(frozen=True)
class Content:
    """What the bundle digest names.

    content_id: 64 hexadecimal digits, random. commitment: of the content key. file_set: keyed
    digest of the plain files' names, sizes and places, so that none can be dropped or renamed.
    """

    model: str
    content_id: str
    commitment: str
    file_set: str
    files: tuple[SealedFile, ...]

    def to_value(self) -> dict[str, Any]:
        """Canonical values; their digest is the bundle digest."""
        return {
            "format": FORMAT,
            "suite": SUITE,
            "model": self.model,
            "content_id": self.content_id,
            "commitment": self.commitment,
            "file_set": self.file_set,
            "files": [
                {
                    "name": file.name,
                    "bytes": file.bytes,
                    "head": file.head,
                    "slots": file.slots,
                    "ciphertext": file.ciphertext,
                }
                for file in self.files
            ],
        }

    @property
    def digest(self) -> BundleDigest:
        """The name of exactly this bundle."""
        return BundleDigest(canonical.digest(self.to_value()))


@dataclass(frozen=True)
class Custody:
    """Who opens the bundle: key ids of the custodians, how many agree, digest of `shares.json`."""

    threshold: int
    custodians: tuple[str, ...]
    shares: str


@dataclass(frozen=True)
class Manifest:
    """A verified manifest; `Manifest.open` is the only way in for bytes from outside."""

    content: Content
    custody: Custody
    created_ms: int

    @property
    def digest(self) -> BundleDigest:
        return self.content.digest

    @property
    def terms(self) -> QuorumTerms:
        """What an opening must satisfy."""
        custody = self.custody
        commitment = self.content.commitment
        return QuorumTerms(self.digest, commitment, custody.threshold, custody.custodians)

    @property
    def sealed_bytes(self) -> int:
        """Bytes of all sealed files together."""
        return sum(file.bytes for file in self.content.files)

    def sign(self, holder: Signer) -> bytes:
        """The signed statement, as `manifest.json` holds it."""
        return sign_statement(BUNDLE_KIND, self._body(), [holder])

    @classmethod
    def open(cls, data: bytes, trust_keys: Mapping[str, bytes]) -> Manifest:
        """The manifest of `data` (unverified bytes), signed by a trusted holder.

        trust_keys: holders' Ed25519 keys by key id, from configuration.
        Raises Invalid: malformed, not signed by one of them, or another version.
        """
        if len(data) > SealLimits().manifest_bytes_max:
            raise Invalid("the manifest is too long", code="bad_manifest")
        statement = open_statement(data, kind=BUNDLE_KIND, keys=trust_keys, signatures_min=1)
        try:
            manifest = _from_body(statement.body)
        except fields.BAD_FIELD as error:
            raise Invalid("not the manifest of a bundle", code="bad_manifest") from error
        # Format and suite are constants of this version: another one does not come out again.
        if manifest._body() != statement.body:
            hint = "a bundle of another version is read by another version of dutchdoor"
            message = "a manifest of another version or form"
            raise Invalid(message, code="bad_manifest", hint=hint)
        _check_files(manifest.content.files)
        return manifest

    def _body(self) -> dict[str, Any]:
        custody = {
            "threshold": self.custody.threshold,
            "custodians": list(self.custody.custodians),
            "shares": self.custody.shares,
        }
        content = self.content.to_value()
        return {"content": content, "custody": custody, "created_ms": self.created_ms}


class Sealed(NamedTuple):
    """What sealing gives: the signed manifest's content and the bundle's name."""

    manifest: Manifest
    digest: BundleDigest


class Progress(NamedTuple):
    """How far sealing or checking has come, in bytes. name: of the file at hand."""

    name: str
    done_bytes: int
    total_bytes: int


Report = Callable[[Progress], None]


class Change(NamedTuple):
    """A place where a bundle is not what its holder signed. size: bytes, 0 where unknown."""

    file: str
    offset: int
    size: int
    what: str


def sealed_name(number: int) -> str:
    """`0000.sealed`: a name that tells only the file's place."""
    return f"{number:04d}.sealed"


def _check_files(files: tuple[SealedFile, ...]) -> None:
    if not 0 < len(files) <= SealLimits().files_max:
        raise Invalid("no files, or too many", code="bad_manifest")
    if [file.name for file in files] != [sealed_name(place) for place in range(len(files))]:
        # A name like ../../x would otherwise choose what is read.
        raise Invalid("a sealed file of another name", code="bad_manifest")


def _from_body(body: Mapping[str, Any]) -> Manifest:
    content, custody = body["content"], body["custody"]
    return Manifest(
        content=Content(
            model=fields.text(content["model"]),
            content_id=fields.hexadecimal(content["content_id"], 64),
            commitment=fields.hexadecimal(content["commitment"], 64),
            file_set=fields.digest(content["file_set"]),
            files=tuple(
                SealedFile(
                    name=fields.text(row["name"]),
                    bytes=fields.count(row["bytes"]),
                    head=fields.digest(row["head"]),
                    slots=fields.count(row["slots"]),
                    ciphertext=fields.digest(row["ciphertext"]),
                )
                for row in content["files"]
            ),
        ),
        custody=Custody(
            threshold=fields.count(custody["threshold"]),
            custodians=tuple(fields.text(name) for name in custody["custodians"]),
            shares=fields.digest(custody["shares"]),
        ),
        created_ms=fields.count(body["created_ms"]),
    )
