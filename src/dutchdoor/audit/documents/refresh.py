"""Writes what follows into the documents: figures of tests, scores, the chart, the history file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dutchdoor.audit.document import Document, fill
from dutchdoor.audit.documents import failures
from dutchdoor.audit.documents.coverage import coverage
from dutchdoor.audit.documents.crossing import catalogues_of
from dutchdoor.audit.documents.fields import unfinished
from dutchdoor.audit.documents.history import catalogue_rows, evidence_rows, sign_off_rows
from dutchdoor.audit.documents.people import Dissent, clocks, dissents
from dutchdoor.audit.documents.reading import front_of, impacts, rows, trials
from dutchdoor.audit.documents.risks import chart
from dutchdoor.audit.folder import AuditFolder, AuditSubject
from dutchdoor.audit.model import SPECIFICATIONS, DocumentKind
from dutchdoor.audit.report import table
from dutchdoor.evidence.decision import Trust

__all__ = ["DERIVED", "check_history", "refresh", "whole_part"]

_K = DocumentKind
DERIVED = (_K.M5, _K.T2, _K.T3, _K.R1, _K.R3, _K.R4, _K.P1)
"""Documents of which a part is made by the program."""
MINUTE_MS = 60_000


def refresh(kind: DocumentKind, folder: AuditFolder, subject: AuditSubject, trust: Trust) -> None:
    """Make the document's derived part anew from the documents as they are; nothing else changes.

    Raises Invalid: a test names an evaluation that was not run. Raises Tampered: a sign-off or a
    signed version does not verify.
    """
    if kind not in DERIVED:
        return
    document = folder.read(kind)
    if kind is _K.R4:
        fresh = Document(
            document.front, fill(document.body, "whole", whole_part(folder, subject, trust))
        )
    elif kind is _K.R3:
        fresh = _history(document, folder, subject, trust)
    else:
        fresh = _MADE[kind](document, folder)
    if fresh != document:
        folder.write(kind, fresh)


def check_history(folder: AuditFolder, subject: AuditSubject, trust: Trust) -> None:
    """Raises Invalid where the design history file is not about what was signed and measured."""
    document = folder.read(_K.R3)
    if document.front != _history(document, folder, subject, trust).front:
        raise unfinished("R3", "it is not about the sign-offs and evidence as they are now")


def whole_part(folder: AuditFolder, subject: AuditSubject, trust: Trust) -> str:
    """What R4 of a full audit brings together besides figures and findings, as Markdown."""
    risks = rows(front_of(folder, _K.T3), "risks")
    failed = rows(front_of(folder, _K.R1), "failures")
    plan = rows(front_of(folder, _K.R2), "mitigations")
    parts = ["## Risks", _risk_table(risks), "## Failures", _failure_table(failed)]
    parts += [
        "## Mitigations",
        table(
            ("concerns", "mitigation", "owner", "due", "status", "residual risk"),
            _cells(plan, ("concerns", "mitigation", "owner", "due", "status", "residual")),
        ),
        "## What no test is about",
        _gaps(folder),
        "## Dissent",
        *([_dissent(row) for row in dissents(folder)] or ["None is recorded."]),
        "## The two clocks",
        _clocks(folder, subject, trust),
    ]
    return "\n\n".join(parts)


def _testing(document: Document, folder: AuditFolder) -> Document:
    measured = {test.id: test for test in trials(document.front)}
    given = [
        {**row, "tried": measured[row["id"]].tried, "failed": measured[row["id"]].failed}
        if row.get("id") in measured
        else row
        for row in rows(document.front, "tests")
    ]
    return document.with_front(tests=given)


def _chart(document: Document, folder: AuditFolder) -> Document:
    made = chart(impacts(front_of(folder, _K.S4)), trials(front_of(folder, _K.T2)))
    given = [risk.to_row() for risk in made]
    body = fill(document.body, "chart", _risk_table(given))
    return Document({**document.front, "risks": given}, body)


def _first(document: Document, folder: AuditFolder) -> Document:
    return document.with_front(failures=failures.scored(rows(document.front, "failures")))


def _final(document: Document, folder: AuditFolder) -> Document:
    given = rows(document.front, "failures")
    seen = {row.get("id") for row in given}
    earlier = [
        row for row in rows(front_of(folder, _K.M5), "failures") if row.get("id") not in seen
    ]
    copied = failures.copied(earlier, trials(front_of(folder, _K.T2)))
    every = failures.scored([*given, *copied])
    body = fill(document.body, "failures", _failure_table(every))
    return Document({**document.front, "failures": every}, body)


def _history(
    document: Document, folder: AuditFolder, subject: AuditSubject, trust: Trust
) -> Document:
    signed = sign_off_rows(folder, subject, trust)
    made = {
        "sign_offs": signed,
        "evidence": evidence_rows(folder),
        "catalogues": catalogue_rows(catalogues_of(folder)),
    }
    listed = [
        (
            row["document"],
            row["title"],
            str(row["version"]),
            row["signed"],
            row["by"],
            f"`{row['digest'][:19]}…`",
        )
        for row in signed
    ]
    part = table(("", "document", "version", "signed", "by", "digest"), listed)
    return Document({**document.front, **made}, fill(document.body, "history", part))


def _decision(document: Document, folder: AuditFolder) -> Document:
    return document.with_front(summary=folder.summary_digest())


_MADE: dict[DocumentKind, Callable[[Document, AuditFolder], Document]] = {
    _K.M5: _first,
    _K.T2: _testing,
    _K.T3: _chart,
    _K.R1: _final,
    _K.P1: _decision,
}


def _risk_table(risks: Iterable[Mapping[str, Any]]) -> str:
    head = ("risk", "who", "what", "harm", "severity", "failed", "likelihood", "rating")
    cells = [
        (
            *(str(row.get(name)) for name in ("id", "group", "impact", "harm", "severity")),
            f"{row.get('failed')} of {row.get('tried')}",
            *(str(row.get(name)) for name in ("likelihood", "rating")),
        )
        for row in risks
    ]
    return table(head, cells) if cells else "No harm is listed in S4."


def _failure_table(given: Iterable[Mapping[str, Any]]) -> str:
    head = ("failure", "mode", "S", "O", "D", "RPN", "priority", "status", "action")
    names = ("id", "mode", "severity", "occurrence", "detection", "rpn", "priority")
    cells = _cells(given, (*names, "status", "action"))
    return table(head, cells) if cells else "No failure is listed."


def _cells(given: Iterable[Mapping[str, Any]], names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [tuple(str(row.get(name, "")) for name in names) for row in given]


def _dissent(row: Dissent) -> str:
    # Words of people must not close the part that the program writes.
    said = " ".join(f"{row.by}, on {row.about}: {row.text}".replace("<!--", "< !--").split())
    return f"- {row.kind}, {said}"


def _gaps(folder: AuditFolder) -> str:
    gaps = coverage(folder).gaps()
    lines = [f"- {name}: {', '.join(ids)}" for name, ids in gaps.items() if ids]
    said = "Stakeholders count as covered when somebody interviewed them."
    return "\n".join([*lines, "", said]) if lines else "Everything named has a test."


def _clocks(folder: AuditFolder, subject: AuditSubject, trust: Trust) -> str:
    covered = folder.kinds[: folder.kinds.index(_K.R4)]
    known = [
        row
        for row in clocks(folder, subject, trust)
        if row.elapsed_ms is not None and row.kind in covered
    ]
    cells = [
        (
            str(row.kind),
            SPECIFICATIONS[row.kind].title,
            str(row.effort_minutes) if row.effort_minutes else "not said",
            str((row.elapsed_ms or 0) // MINUTE_MS),
        )
        for row in known
    ]
    head = ("", "document", "effort, minutes, as people said", "elapsed, minutes, by signatures")
    return table(head, cells)
