"""The manifest of a sealed bundle: what anybody may see of it, signed by its holder.

`Content` is what the bundle digest names: everything that determines an inference. `Custody` says
who opens it; it is signed but outside the digest, so that shares can be wrapped anew to other
custodians without touching the data or any decision. So is the decision that it refers to: that
one names the digest.
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
from dutchdoor.weights.format import SUITES, VERSION
from dutchdoor.weights.public import NOTHING_SHOWN, Public, check_public_text

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
FORMATS = {1: "dutchdoor-sealed-bundle-1", 2: "dutchdoor-sealed-bundle-2"}

_OTHER_VERSION = "a bundle of another version is read by another version of dutchdoor"


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
    public: what the holder shows of the model. version: of the form; 1 shows nothing.
    """

    model: str
    content_id: str
    commitment: str
    file_set: str
    files: tuple[SealedFile, ...]
    public: Public = NOTHING_SHOWN
    version: int = VERSION

    def to_value(self) -> dict[str, Any]:
        """Canonical values; their digest is the bundle digest."""
        shown = {} if self.version == 1 else {"public": self.public.to_value()}
        return {
            **shown,
            "format": FORMATS[self.version],
            "suite": SUITES[self.version],
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
    """A verified manifest; `Manifest.open` is the only way in for bytes from outside.

    decision: id of the decision that it was published with, for whoever has only the bundle; what
    is in force the log alone says. Empty where there is none.
    """

    content: Content
    custody: Custody
    created_ms: int
    decision: str = ""

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
            message = "not the manifest of a bundle, or one of another version"
            raise Invalid(message, code="bad_manifest", hint=_OTHER_VERSION) from error
        # Format and suite follow from the version: another one does not come out again.
        if manifest._body() != statement.body:
            message = "a manifest of another form"
            raise Invalid(message, code="bad_manifest", hint=_OTHER_VERSION)
        _check_files(manifest.content.files)
        return manifest

    def _body(self) -> dict[str, Any]:
        custody = {
            "threshold": self.custody.threshold,
            "custodians": list(self.custody.custodians),
            "shares": self.custody.shares,
        }
        body: dict[str, Any] = {"content": self.content.to_value(), "custody": custody}
        body["created_ms"] = self.created_ms
        if self.content.version > 1:
            body["decision"] = self.decision
        return body


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
    version = {name: version for version, name in FORMATS.items()}[content["format"]]
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
            public=NOTHING_SHOWN if version == 1 else Public.from_value(content["public"]),
            version=version,
        ),
        custody=Custody(
            threshold=fields.count(custody["threshold"]),
            custodians=tuple(fields.text(name) for name in custody["custodians"]),
            shares=fields.digest(custody["shares"]),
        ),
        created_ms=fields.count(body["created_ms"]),
        decision="" if version == 1 else check_public_text(fields.text(body["decision"])),
    )
