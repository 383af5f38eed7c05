"""Writes the documents of an audit that a reader may see, and of the others title and digest.

Only signed documents leave, as they were signed. Who may read what is decided by the rules in
`policies/documents/`, for the person asked for; a document says its own sensitivity, and one that
copies from others is at least as sensitive as they.
The digest of a short text can be guessed at: do not rely on it to hide one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from dutchdoor.audit.document import digest_of, write_bytes
from dutchdoor.audit.documents.forms import SENSITIVITIES
from dutchdoor.audit.documents.reading import front_of
from dutchdoor.audit.folder import AuditFolder, AuditSubject
from dutchdoor.audit.graph import standings
from dutchdoor.audit.model import SPECIFICATIONS, DocumentKind, DocumentState
from dutchdoor.audit.ports import Reader
from dutchdoor.audit.summary import SUMMARY_NAME
from dutchdoor.audit.template import TEMPLATES
from dutchdoor.errors import Refused, Tampered
from dutchdoor.evidence.decision import Trust

__all__ = ["Exported", "export", "sensitivity_of"]

_K = DocumentKind
INDEX_NAME = "index.json"
_COPIES: dict[DocumentKind, tuple[DocumentKind, ...]] = {
    _K.T3: (_K.S4,),
    _K.R1: (_K.M5,),
    _K.R4: (_K.T2, _K.T3, _K.R1, _K.R2),
}
"""Documents into which the program copies words of others."""


class Exported(NamedTuple):
    """What became of one document: written, or redacted because of `why`. rule: what decided."""

    kind: DocumentKind
    file: str
    digest: str
    sensitivity: str
    written: bool
    why: str
    rule: str = ""


def sensitivity_of(kind: DocumentKind, folder: AuditFolder) -> str:
    """The document's level, not below that of what is copied into it; unknown ones are highest."""
    own = str(front_of(folder, kind).get("sensitivity", "internal"))
    if own not in SENSITIVITIES:
        return SENSITIVITIES[-1]
    copied = [
        sensitivity_of(source, folder) for source in _COPIES.get(kind, ()) if source in folder.kinds
    ]
    # What a dissenter or a finding says goes into R4 from any document.
    if kind is _K.R4:
        copied += [
            sensitivity_of(other, folder)
            for other in folder.kinds
            if front_of(folder, other).get("dissent") and other is not kind
        ]
    return max([own, *copied], key=SENSITIVITIES.index)


def export(
    folder: AuditFolder, subject: AuditSubject, trust: Trust, target: Path, reader: Reader
) -> tuple[Exported, ...]:
    """Write into the empty or new folder `target` what `reader` may read.

    Raises Refused: `target` holds something. Raises Tampered: a sign-off does not verify, or a
    document changed while it was read.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        message = f"{target.name} is not an empty folder"
        raise Refused(message, code="export_not_empty", hint="name a new folder")
    found = standings(folder.digests(), folder.signatures(subject, trust))
    rows = tuple(_one(kind, found[kind].state, folder, target, reader) for kind in folder.kinds)
    summary = _summary(folder, target, reader)
    index: dict[str, Any] = {
        "audit": subject.audit,
        "bundle": subject.bundle,
        "model": subject.model,
        "scale": str(subject.scale),
        "reader": reader.name,
        "summary": summary,
        "documents": [
            {**row._asdict(), "kind": str(row.kind), "title": SPECIFICATIONS[row.kind].title}
            for row in rows
        ],
    }
    write_bytes(target / INDEX_NAME, json.dumps(index, indent=2, ensure_ascii=False).encode())
    return rows


def _one(
    kind: DocumentKind, state: DocumentState, folder: AuditFolder, target: Path, reader: Reader
) -> Exported:
    name, digest = TEMPLATES[kind], folder.digests()[kind]
    if state is not DocumentState.SIGNED:
        return Exported(kind, name, digest, "", written=False, why=f"not signed ({state})")
    data = folder.file(kind).read_bytes()
    level = sensitivity_of(kind, folder)
    reading = reader.reads(str(kind), level)
    if not reading.permits:
        # Only the method's own title: the document's words stay where they are.
        text = f"# {SPECIFICATIONS[kind].title}\n\nRedacted ({level}). Digest: `{digest}`\n"
        data = text.encode()
    write_bytes(target / name, data)
    if reading.permits and digest_of(target / name) != digest:
        (target / name).unlink()
        message = f"{kind} changed while it was read"
        raise Tampered(message, code="document_changed", where=name)
    why = "" if reading.permits else level
    return Exported(kind, name, digest, level, reading.permits, why, reading.rule)


def _summary(folder: AuditFolder, target: Path, reader: Reader) -> dict[str, Any]:
    envelope = folder.summary()
    if envelope is None:
        return {"digest": "", "written": False}
    # The summary has the findings in it, word for word.
    written = reader.reads(str(_K.T2), sensitivity_of(_K.T2, folder)).permits
    if written:
        write_bytes(target / SUMMARY_NAME, envelope)
    return {"digest": folder.summary_digest(), "written": written}
