"""What people add to a document by a command: an interview that took place, a disagreement.

The words of an interview never come into the audit: the transcript is read once, for its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from dutchdoor.audit.document import read_document, write_document
from dutchdoor.audit.documents.people import check_people
from dutchdoor.audit.documents.reading import rows
from dutchdoor.audit.model import DocumentKind, Scale
from dutchdoor.audit.service import Audit
from dutchdoor.audit.template import TEMPLATES
from dutchdoor.errors import Invalid, NotFound, Refused

__all__ = ["add_dissent", "add_interview"]

_K = DocumentKind


def add_interview(
    audit: Audit, stakeholder: str, day: str, transcript: Path, *, consent: bool
) -> str:
    """Note in M4 that somebody was interviewed; the digest of the transcript.

    stakeholder: an id of M1. day: YYYY-MM-DD. transcript: a file that stays where it is, outside
    the audit's folder.
    Raises Refused: no consent, the transcript lies in the audit's folder, or the audit is closed.
    Raises NotFound: no such stakeholder or file. Raises Invalid: no such date.
    """
    if not consent:
        message = "nobody is listed who did not consent"
        hint = "ask them, and give --consent; without it leave them out"
        raise Refused(message, code="no_consent", hint=hint)
    path = _open(audit, _K.M4)
    known = [str(row.get("id")) for row in rows(_front(audit, _K.M1), "stakeholders")]
    if stakeholder not in known:
        message = f"there is no stakeholder '{stakeholder}' in M1"
        raise NotFound(message, code="no_stakeholder", hint=f"there are: {', '.join(known)}")
    if not _is_date(day):
        raise Invalid(f"'{day}' is no date", code="bad_date", hint="YYYY-MM-DD")
    if transcript.resolve().is_relative_to(audit.path.parent.resolve()):
        message = "a transcript does not belong in the folder of audits: others read that"
        hint = "keep it where only the interviewers read it"
        raise Refused(message, code="transcript_inside", hint=hint)
    try:
        with transcript.open("rb") as file:
            digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise NotFound("the transcript cannot be read", code="no_transcript") from error
    document = read_document(path)
    row: dict[str, Any] = {"stakeholder": stakeholder, "date": day, "consent": True}
    listed = [*rows(document.front, "interviews"), {**row, "transcript": digest}]
    write_document(path, document.with_front(interviews=listed))
    return digest


def add_dissent(audit: Audit, kind: DocumentKind, by: str, about: str, text: str) -> Path:
    """Record somebody's disagreement in a document, in their words; the document's file.

    Raises Invalid: a part is empty, or the audit is of scale short, which has no place for it.
    Raises Refused: the audit is closed.
    """
    path = _open(audit, kind)
    document = read_document(path)
    row = {"by": by.strip(), "about": about.strip(), "text": text.strip()}
    front = {**document.front, "dissent": [*rows(document.front, "dissent"), row]}
    check_people(str(kind), front)
    write_document(path, document.with_front(dissent=front["dissent"]))
    return path


def _open(audit: Audit, kind: DocumentKind) -> Path:
    if audit.subject.scale is not Scale.FULL:
        message = "an audit of scale short has no place for this"
        raise Invalid(message, code="audit_short", hint="dutchdoor audit start --full")
    if audit.summary() is not None:
        message = f"{audit.subject.audit} is completed and closed"
        raise Refused(message, code="audit_completed", hint="start another audit")
    return audit.path / TEMPLATES[kind]


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _front(audit: Audit, kind: DocumentKind) -> Mapping[str, Any]:
    return read_document(audit.path / TEMPLATES[kind]).front
