"""An audit's folder: what it is about, its documents, and the sign-offs beside them.

audits/<audit>/audit.yaml            what is audited, by whom, since when
audits/<audit>/S2-scope.md           one file a document, edited by people
audits/<audit>/people.yaml           who acts in which role, where somebody wrote it
audits/<audit>/signatures/S2-001.json   one file a sign-off, never overwritten
audits/<audit>/signatures/M2-001.second.json   who signed it second
audits/<audit>/history/S2-001.md     the document as it was signed then, never overwritten
audits/<audit>/probe-card.json       the fitted probe's figures
audits/<audit>/logs/                 Inspect's logs
audits/<audit>/summary.json          the signed summary; once it is there, all is closed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.document import (
    DOCUMENT_BYTES_MAX,
    Document,
    digest_of,
    read_document,
    read_yaml,
    write_bytes,
    write_document,
    write_yaml,
)
from dutchdoor.audit.model import DocumentKind, Scale, Signature
from dutchdoor.audit.people import PEOPLE_NAME, People, load_people
from dutchdoor.audit.roles import document_keys, sign_groups
from dutchdoor.audit.summary import CARD_NAME, SUMMARY_NAME
from dutchdoor.audit.template import TEMPLATES, documents_of
from dutchdoor.errors import Invalid, NotFound, Refused, Tampered
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.statement import open_statement

__all__ = [
    "DOCUMENT_STATEMENT",
    "SECOND_STATEMENT",
    "AuditFolder",
    "AuditSubject",
    "missing_roles",
]

DOCUMENT_STATEMENT = "audit_document"
SECOND_STATEMENT = "audit_document_second"
_SUBJECT_NAME = "audit.yaml"
SIGNATURES_MAX = 999


@dataclass(frozen=True)
class AuditSubject:
    """What an audit is about; fixed when it starts."""

    audit: str
    bundle: str
    model: str
    auditor: str
    objective: str
    started_ms: int
    scale: Scale = Scale.SHORT

    @classmethod
    def from_value(cls, value: Any) -> AuditSubject:
        """Raises Invalid: a field is missing, unknown or of the wrong kind."""
        if isinstance(value, dict):
            value = {"scale": str(Scale.SHORT), **value}
        if not isinstance(value, dict) or set(value) != set(cls.__annotations__):
            raise Invalid(f"{_SUBJECT_NAME} lacks a field or has another", code="bad_audit")
        for name, item in value.items():
            if not isinstance(item, int if name == "started_ms" else str):
                raise Invalid(f"{name} in {_SUBJECT_NAME} is of the wrong kind", code="bad_audit")
        try:
            return cls(**{**value, "scale": Scale(value["scale"])})
        except ValueError as error:
            raise Invalid(f"scale in {_SUBJECT_NAME} is unknown", code="bad_audit") from error

    def to_value(self) -> dict[str, Any]:
        """Plain values for the file."""
        return {**vars(self), "scale": str(self.scale)}


class AuditFolder:
    """Reads and writes one audit's files; knows no rules of the audit."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def card(self) -> Path:
        return self.path / CARD_NAME

    @property
    def catalogues(self) -> Path:
        """The workspace's own catalogues, beside its folder of audits; they need not be there."""
        return self.path.parent.parent / "catalogues"

    def create(self, subject: AuditSubject, documents: Mapping[DocumentKind, Document]) -> None:
        """Make the folder with its first documents. Raises Refused: it exists already."""
        try:
            self.path.mkdir(parents=True)
        except FileExistsError as error:
            raise Refused(f"{self.path.name} exists already", code="audit_exists") from error
        for kind, document in documents.items():
            self.write(kind, document)
        # Last, so that a folder with a subject always has its documents.
        write_yaml(self.path / _SUBJECT_NAME, subject.to_value())

    def subject(self) -> AuditSubject:
        """What the audit is about. Raises NotFound: no audit is here. Raises Invalid: changed."""
        path = self.path / _SUBJECT_NAME
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError) as error:
            hint = "start one with 'dutchdoor audit start'"
            message = f"there is no audit '{self.path.name}'"
            raise NotFound(message, code="no_audit", hint=hint) from error
        except UnicodeDecodeError as error:
            raise Invalid(f"{_SUBJECT_NAME} is not UTF-8", code="bad_audit") from error
        subject = AuditSubject.from_value(read_yaml(text, where=_SUBJECT_NAME))
        if subject.audit != self.path.name:
            raise Tampered(
                f"{_SUBJECT_NAME} speaks of another audit than its folder",
                code="audit_changed",
                where=str(path),
            )
        return subject

    @property
    def kinds(self) -> tuple[DocumentKind, ...]:
        """The documents this audit has, by its scale."""
        return documents_of(self.subject().scale)

    def file(self, kind: DocumentKind) -> Path:
        """Where the document is."""
        return self.path / TEMPLATES[kind]

    def read(self, kind: DocumentKind) -> Document:
        """The document. Raises NotFound, Invalid: see `read_document`."""
        return read_document(self.file(kind))

    def write(self, kind: DocumentKind, document: Document) -> None:
        """Write the document, whole or not at all."""
        write_document(self.file(kind), document)

    def digests(self) -> dict[DocumentKind, str]:
        """The digest of each document, "" where its file is gone."""
        return {kind: self._digest(kind) for kind in self.kinds}

    def signatures(self, subject: AuditSubject, trust: Trust) -> dict[DocumentKind, Signature]:
        """The latest sign-off of each document, verified by those who may sign it.

        A document that takes two signatures and has one is not among them: see `half_signed`.
        Raises Tampered: a sign-off does not verify, or speaks of another audit.
        """
        latest = {kind: self.sign_offs(kind, subject, trust)[-1:] for kind in self.kinds}
        return {
            kind: rows[0]
            for kind, rows in latest.items()
            if rows and not missing_roles(rows[0], subject, trust)
        }

    def half_signed(self, subject: AuditSubject, trust: Trust) -> dict[DocumentKind, Signature]:
        """The documents whose latest sign-off still lacks a role. Raises as `signatures`."""
        found = {}
        for kind in self.kinds:
            rows = self.sign_offs(kind, subject, trust)
            if rows and missing_roles(rows[-1], subject, trust):
                found[kind] = rows[-1]
        return found

    def sign_offs(
        self, kind: DocumentKind, subject: AuditSubject, trust: Trust
    ) -> tuple[Signature, ...]:
        """Every sign-off of a document, oldest first, verified. Raises as `signatures`."""
        keys = document_keys(trust, kind, subject.scale)
        files = self._signature_files(kind)
        return tuple(_open(path, kind, subject, keys, n) for n, path in enumerate(files, 1))

    def people_were_named(self, subject: AuditSubject, trust: Trust) -> bool:
        """Whether any sign-off was given under a `people.yaml`. Raises as `signatures`."""
        return any(
            row.people for kind in self.kinds for row in self.sign_offs(kind, subject, trust)
        )

    def people_elsewhere(self, subject: AuditSubject) -> tuple[People, ...]:
        """The people of the other audits of this bundle. Raises as `load_people`."""
        found = []
        for path in sorted(self.path.parent.glob(f"*/{PEOPLE_NAME}")):
            if path.parent == self.path:
                continue
            if AuditFolder(path.parent).subject().bundle == subject.bundle:
                people = load_people(path.parent)
                found += [people] if people is not None else []
        return tuple(found)

    def sign_off(self, kind: DocumentKind, version: int) -> bytes:
        """The envelope of one sign-off (unverified bytes)."""
        return (self._signatures / f"{kind}-{version:03d}.json").read_bytes()

    def signed_copy(self, kind: DocumentKind, version: int) -> Path:
        """Where the document is kept as it was when it was signed."""
        return self.path / "history" / f"{kind}-{version:03d}.md"

    def next_version(self, kind: DocumentKind) -> int:
        """The version that the next sign-off makes. Raises Refused: there were too many."""
        number = len(self._signature_files(kind)) + 1
        if number > SIGNATURES_MAX:
            message = f"{kind} was signed {SIGNATURES_MAX} times"
            raise Refused(message, code="too_many_signatures", hint="start another audit")
        return number

    def add_signature(self, kind: DocumentKind, envelope: bytes) -> None:
        """Keep one more sign-off, and the document as it is now; earlier ones stay."""
        number = self.next_version(kind)
        # The copy first: no sign-off is without the text that was signed.
        write_bytes(self.signed_copy(kind, number), self.file(kind).read_bytes())
        write_bytes(self._signatures / f"{kind}-{number:03d}.json", envelope)

    def complete_signature(self, kind: DocumentKind, version: int, envelope: bytes) -> None:
        """Put a second signature on a sign-off that lacked one; its statement is the same."""
        write_bytes(self._signatures / f"{kind}-{version:03d}.json", envelope)

    def name_second(self, kind: DocumentKind, version: int, envelope: bytes) -> None:
        """Keep who signs a sign-off second, in their own statement."""
        write_bytes(self._signatures / f"{kind}-{version:03d}.second.json", envelope)

    def summary(self) -> bytes | None:
        """The signed summary (unverified bytes), or None before the audit is completed."""
        try:
            return (self.path / SUMMARY_NAME).read_bytes()
        except FileNotFoundError:
            return None

    def summary_digest(self) -> str:
        """The digest of the signed summary's envelope, "" before the audit is completed."""
        envelope = self.summary()
        return "" if envelope is None else "sha256:" + canonical.sha256_hex(envelope)

    def write_summary(self, envelope: bytes) -> None:
        """Keep the signed summary: the audit is completed."""
        write_bytes(self.path / SUMMARY_NAME, envelope)

    @property
    def _signatures(self) -> Path:
        return self.path / "signatures"

    def _signature_files(self, kind: DocumentKind) -> list[Path]:
        return sorted(self._signatures.glob(f"{kind}-[0-9][0-9][0-9].json"))

    def _digest(self, kind: DocumentKind) -> str:
        try:
            return digest_of(self.file(kind))
        except NotFound:
            return ""


def missing_roles(signature: Signature, subject: AuditSubject, trust: Trust) -> tuple[str, ...]:
    """The roles whose signature a sign-off still lacks; no key counts for two of them."""
    groups = sign_groups(trust, signature.kind, subject.scale)
    signed = set(signature.keys)
    missing = [name for name, keys in groups if not set(keys) & signed]
    if len(groups) > 1 and not missing and len(signed) < len(groups):
        missing = [groups[-1][0]]
    return tuple(missing)


def _open(
    path: Path,
    kind: DocumentKind,
    subject: AuditSubject,
    keys: Mapping[str, bytes],
    version: int,
) -> Signature:
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX)
        statement = open_statement(data, kind=DOCUMENT_STATEMENT, keys=keys, signatures_min=1)
        body = statement.body
        _must_be_about(body, kind, subject, version)
        found = Signature(
            kind=kind,
            digest=str(body["digest"]),
            stands_on={DocumentKind(row["kind"]): row["digest"] for row in body["stands_on"]},
            signer=str(body["signer"]),
            key=str(body.get("key", statement.signers[0])),
            time_ms=int(body["time_ms"]),
            version=version,
            keys=statement.signers,
            person=str(body.get("person", "")),
            people=str(body.get("people", "")),
        )
        return _with_second(path.with_suffix(".second.json"), found, subject, keys)
    except (Invalid, KeyError, TypeError, ValueError) as error:
        raise Tampered(
            f"the sign-off {path.name} does not verify: {error}",
            code="signature_changed",
            hint="restore the file, or delete it and sign the document again",
            where=str(path),
        ) from error


def _with_second(
    path: Path, first: Signature, subject: AuditSubject, keys: Mapping[str, bytes]
) -> Signature:
    """The sign-off with who signed second, where they said so.

    A name without its signature on the sign-off is left out: they had not come to that yet.
    """
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX)
    except FileNotFoundError:
        return first
    statement = open_statement(data, kind=SECOND_STATEMENT, keys=keys, signatures_min=1)
    body, key = statement.body, str(statement.body["key"])
    about = (body["audit"], body["document"], body["version"], body["digest"], body["first_key"])
    if about != (subject.audit, str(first.kind), first.version, first.digest, first.key):
        raise Invalid("it names who signed another one second", code="bad_statement")
    if statement.signers != (key,) or key == first.key:
        raise Invalid("who signed second is not who says so", code="bad_statement")
    if key not in first.keys:
        return first
    return replace(
        first,
        second=str(body["signer"]),
        second_key=key,
        second_person=str(body["person"]),
        second_ms=int(body["time_ms"]),
    )


def _must_be_about(
    body: Mapping[str, Any], kind: DocumentKind, subject: AuditSubject, version: int
) -> None:
    about = (body["audit"], body["bundle"], body["document"], body.get("scale", Scale.SHORT))
    # The scale too: an audit that became shorter after it was signed is another audit.
    if about != (subject.audit, subject.bundle, str(kind), str(subject.scale)):
        raise Invalid("it is a sign-off of another document", code="bad_statement")
    if body.get("version", version) != version:
        raise Invalid("it is a sign-off of another version", code="bad_statement")
