"""Editing a document as text: nothing is reformatted, nothing of others is written over.

Whoever saves says which text they began with, by its digest. Where the file is another by now, it
stays, and they are told. Other editors know nothing of this: their changes show as another digest.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dutchdoor.audit.checks import check_ready
from dutchdoor.audit.document import DOCUMENT_BYTES_MAX, Document, digest_of, write_bytes
from dutchdoor.audit.documents.fields import form_problems
from dutchdoor.audit.documents.forms import FORMS, HEAD, SENSITIVITIES
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind, Scale
from dutchdoor.audit.service import Audit
from dutchdoor.audit.standing import is_post_audit
from dutchdoor.audit.template import TEMPLATES
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused

__all__ = ["Changed", "Draft", "Problem", "open_draft", "problems", "save_draft"]

_FIXED = ("document", "audit", "bundle")
_FENCE = re.compile(r"^---[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Draft:
    """A document's text in its two parts. digest: of the file that it was read from."""

    front: str
    body: str
    digest: str


class Problem(NamedTuple):
    """What keeps a document from being saved, or signed. line: in the front matter, 0 for none."""

    where: str
    text: str
    line: int = 0


class Changed(Refused):
    """Somebody else saved in between; `stored` is their text."""

    def __init__(self, stored: Draft) -> None:
        message = "the document was changed since you opened it; nothing was written over"
        hint = "compare both texts, take over what you need, and save again"
        super().__init__(message, code="document_moved", hint=hint)
        self.stored = stored


def open_draft(audit: Audit, kind: DocumentKind) -> Draft:
    """The document's text as it is. Raises NotFound: not of this audit, or its file is gone."""
    path = _path(audit, kind)
    try:
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX + 1)
    except OSError as error:
        raise NotFound(f"{path.name} is not there", code="document_missing") from error
    digest = digest_of(path)
    text = data.decode(errors="replace").replace("\r\n", "\n")
    parts = _FENCE.split(text, maxsplit=2)
    if len(parts) != 3 or parts[0].strip():
        return Draft("", text, digest)
    return Draft(parts[1].strip("\n") + "\n", parts[2].strip("\n") + "\n", digest)


def save_draft(audit: Audit, kind: DocumentKind, draft: Draft) -> str:
    """Write the text; the digest of the new file.

    1. The audit still takes changes of this document.
    2. The text is a document, and still this one of this audit, with a known sensitivity.
    3. The file is the one that the text was begun with (`Changed` where it is not).
    Raises Refused, Invalid: nothing was written.
    """
    path = _path(audit, kind)
    # 1.
    if audit.summary() is not None and not is_post_audit(kind):
        message = f"{audit.subject.audit} is completed and closed"
        raise Refused(message, code="audit_completed", hint="start another audit")
    # 2.
    data = _checked(audit, kind, draft)
    # 3. The lock is for others who save here: between look and write nobody else does.
    with _alone(audit.path):
        if digest_of(path) != draft.digest:
            raise Changed(open_draft(audit, kind))
        write_bytes(path, data)
    return digest_of(path)


def problems(audit: Audit, kind: DocumentKind) -> tuple[Problem, ...]:
    """What keeps the document, as it is stored, from being signed: its fields, then the rest."""
    folder = AuditFolder(audit.path)
    try:
        document = folder.read(kind)
        text = open_draft(audit, kind).front
    except DutchdoorError as error:
        return (Problem("the document", error.message),)
    found: list[Problem] = []
    if audit.subject.scale is Scale.FULL:
        for where, why in form_problems(FORMS[kind], document.front, document.body, HEAD):
            found.append(Problem(where, why, _line_of(text, where)))
    try:
        check_ready(kind, folder, audit.subject)
    except DutchdoorError as error:
        why = error.message.partition("cannot be signed: ")[2] or error.message
        if why not in {row.text for row in found}:
            found.append(Problem("the document", why))
    return tuple(found)


def _checked(audit: Audit, kind: DocumentKind, draft: Draft) -> bytes:
    if _FENCE.search(draft.front):
        message = "the front matter holds a line '---', which would end it"
        raise Invalid(message, code="bad_document", hint="take the line away")
    try:
        data = f"---\n{draft.front.strip()}\n---\n\n{draft.body.strip()}\n".encode()
    except UnicodeEncodeError as error:
        raise Invalid("the text is not UTF-8", code="bad_document") from error
    front = Document.decode(data, where=TEMPLATES[kind]).front
    subject = audit.subject
    expected = dict(zip(_FIXED, (str(kind), subject.audit, subject.bundle), strict=True))
    for name, value in expected.items():
        if front.get(name) != value:
            message = f"'{name}' has to stay '{value}'"
            raise Invalid(message, code="document_of_another", hint="restore that line")
    if subject.scale is Scale.FULL and front.get("sensitivity") not in SENSITIVITIES:
        message = "'sensitivity' is none of " + ", ".join(SENSITIVITIES)
        raise Invalid(message, code="no_sensitivity", hint="say how sensitive it is")
    return data


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _path(audit: Audit, kind: DocumentKind) -> Path:
    if kind not in AuditFolder(audit.path).kinds:
        raise NotFound(f"this audit has no document {kind}", code="no_document")
    return audit.path / TEMPLATES[kind]


def _line_of(text: str, where: str) -> int:
    """The line on which the field `where` begins, 0 where it has none."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(f"{where}:"):
            return number
    return 0
