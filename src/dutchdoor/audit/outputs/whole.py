"""What only a full audit has: its risks, failures, plan, dissent, gaps, and what came after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dutchdoor.audit.document import Document, read_document
from dutchdoor.audit.documents.coverage import coverage
from dutchdoor.audit.documents.failures import open_severe
from dutchdoor.audit.documents.people import Dissent
from dutchdoor.audit.documents.reading import rows
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind, DocumentState, DocumentStatus
from dutchdoor.audit.outputs.text import clean, cleaned
from dutchdoor.errors import Invalid, NotFound

__all__ = ["OUTWARD", "Whole", "read_whole"]

_K = DocumentKind
OUTWARD = frozenset({"", "public", "internal"})
"""Documents of these sensitivities are quoted; of others only the digest leaves the audit."""

Rows = tuple[Mapping[str, Any], ...]
_COVERED = frozenset({_K.S0, _K.S2, _K.S4, _K.M1, _K.M4, _K.M5, _K.T2})
"""The documents in whose words a gap in coverage is named."""


@dataclass(frozen=True)
class Whole:
    """The rows of a full audit's documents, clean, empty where a document is withheld.

    analysed: which document the failures are of, R1 or, before that has any, M5. gaps: ids without
    a test by what they are; without names where a document that names them is withheld. trouble:
    why there are none. decision: P1's fields, and tracking and triggers P2's, once each is signed.
    withheld: the digests of documents that are not quoted. states: where each document stands.
    """

    risks: Rows = ()
    failures: Rows = ()
    analysed: DocumentKind = _K.R1
    plan: Rows = ()
    dissents: tuple[Dissent, ...] = ()
    gaps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trouble: str = ""
    decision: Mapping[str, Any] = field(default_factory=dict)
    tracking: Rows = ()
    triggers: tuple[str, ...] = ()
    withheld: Mapping[DocumentKind, str] = field(default_factory=dict)
    states: Mapping[DocumentKind, DocumentStatus] = field(default_factory=dict)

    @property
    def severe_open(self) -> tuple[str, ...]:
        """The failures of so high a severity that they stop the audit while they are open."""
        return tuple(open_severe(self.failures))

    @property
    def gaps_named(self) -> bool:
        """Whether what has no test may be named outside the audit."""
        return not _COVERED & set(self.withheld)


def read_whole(folder: Path, documents: tuple[DocumentStatus, ...]) -> Whole:
    """What the documents of a full audit say now, as far as it may leave the audit."""
    fronts: dict[DocumentKind, Mapping[str, Any]] = {}
    withheld: dict[DocumentKind, str] = {}
    for row in documents:
        try:
            document = read_document(folder / row.file)
        except NotFound:
            continue
        if _is_outward(document):
            fronts[row.kind] = cleaned(dict(document.front))
        else:
            withheld[row.kind] = row.digest
    states = {row.kind: row for row in documents}
    last = rows(fronts.get(_K.R1, {}), "failures")
    analysed = _K.R1 if last or _K.R1 in withheld else _K.M5
    decided, followed = (_if_signed(kind, fronts, states) for kind in (_K.P1, _K.P2))
    triggers = followed.get("triggers")
    gaps, trouble = _gaps(folder)
    return Whole(
        # The chart quotes the impacts of S4.
        risks=() if _K.S4 in withheld else rows(fronts.get(_K.T3, {}), "risks"),
        failures=last if analysed is _K.R1 else rows(fronts.get(_K.M5, {}), "failures"),
        analysed=analysed,
        plan=rows(fronts.get(_K.R2, {}), "mitigations"),
        dissents=tuple(_dissents(fronts)),
        gaps=gaps,
        trouble=trouble,
        decision=decided,
        tracking=rows(followed, "tracking"),
        triggers=tuple(map(str, triggers)) if isinstance(triggers, list) else (),
        withheld=withheld,
        states=states,
    )


def _is_outward(document: Document) -> bool:
    return str(document.front.get("sensitivity") or "").casefold() in OUTWARD


def _if_signed(
    kind: DocumentKind,
    fronts: Mapping[DocumentKind, Mapping[str, Any]],
    states: Mapping[DocumentKind, DocumentStatus],
) -> Mapping[str, Any]:
    """A document after the audit counts once it is signed: before, it is a template."""
    status = states.get(kind)
    signed = status is not None and status.state is DocumentState.SIGNED
    return fronts.get(kind, {}) if signed else {}


def _dissents(fronts: Mapping[DocumentKind, Mapping[str, Any]]) -> list[Dissent]:
    return [
        Dissent(kind, *(str(row.get(name, "")) for name in ("by", "about", "text")))
        for kind, front in fronts.items()
        for row in rows(front, "dissent")
    ]


def _gaps(folder: Path) -> tuple[Mapping[str, tuple[str, ...]], str]:
    try:
        return cleaned(coverage(AuditFolder(folder)).gaps()), ""
    except Invalid as error:
        return {}, clean(error.message)
