"""Who disagreed, and the two clocks: effort that people say, time that passed by signatures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dutchdoor.audit.documents.reading import front_of, rows
from dutchdoor.audit.folder import AuditFolder, AuditSubject
from dutchdoor.audit.graph import needs_of
from dutchdoor.audit.model import DocumentKind
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Trust

__all__ = ["EFFORT_MINUTES_MAX", "Clocks", "Dissent", "check_people", "clocks", "dissents"]

EFFORT_MINUTES_MAX = 1_000_000


class Dissent(NamedTuple):
    """Somebody's disagreement with a document, in their own words."""

    kind: DocumentKind
    by: str
    about: str
    text: str


class Clocks(NamedTuple):
    """A document's two clocks.

    effort_minutes: as people wrote it, 0 where nobody did. elapsed_ms: from the moment it could be
    written (what it stands on was signed, or the audit started) to its last sign-off; None where
    it is not signed.
    """

    kind: DocumentKind
    effort_minutes: int
    elapsed_ms: int | None


def check_people(document: str, front: Mapping[str, Any]) -> None:
    """Raises Invalid where effort or dissent is not in form."""
    effort = front.get("effort_minutes", 0)
    if not isinstance(effort, int) or isinstance(effort, bool):
        effort = -1
    if not 0 <= effort <= EFFORT_MINUTES_MAX:
        message = f"{document} cannot be signed: its effort is no count of minutes"
        raise Invalid(message, code="document_unfinished")
    value = front.get("dissent", [])
    good = isinstance(value, list) and all(
        isinstance(row, dict)
        and set(row) == {"by", "about", "text"}
        and all(isinstance(text, str) and text.strip() for text in row.values())
        for row in value
    )
    if not good:
        message = f"{document} cannot be signed: a dissent has by, about and text"
        raise Invalid(message, code="document_unfinished")


def dissents(folder: AuditFolder) -> tuple[Dissent, ...]:
    """Every disagreement that a document records, in the documents' order."""
    found = []
    for kind in folder.kinds:
        for row in rows(front_of(folder, kind), "dissent"):
            texts = [str(row.get(name, "")) for name in ("by", "about", "text")]
            found.append(Dissent(kind, *texts))
    return tuple(found)


def clocks(folder: AuditFolder, subject: AuditSubject, trust: Trust) -> tuple[Clocks, ...]:
    """Both clocks of each document. Raises Tampered: a sign-off does not verify."""
    signatures = folder.signatures(subject, trust)
    found = []
    for kind in folder.kinds:
        effort = front_of(folder, kind).get("effort_minutes", 0)
        minutes = effort if isinstance(effort, int) and effort > 0 else 0
        signature = signatures.get(kind)
        elapsed = None
        if signature is not None:
            before = [
                max(signatures[need].time_ms, signatures[need].second_ms)
                for need in needs_of(kind, folder.kinds)
                if need in signatures
            ]
            opened = max([subject.started_ms, *before])
            last_ms = max(signature.time_ms, signature.second_ms)
            elapsed = max(0, last_ms - opened)
        found.append(Clocks(kind, minutes, elapsed))
    return tuple(found)
