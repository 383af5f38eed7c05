"""Everything the outputs are made from, read once from an audit's folder and made clean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.artifacts import Artifact, read_artifacts
from dutchdoor.audit.checks import Testing
from dutchdoor.audit.document import DOCUMENT_BYTES_MAX, Document, read_document
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.model import (
    AuditStatus,
    DocumentKind,
    DocumentStatus,
    Finding,
    Scale,
    Severity,
)
from dutchdoor.audit.outputs.amending import Curve, read_curves
from dutchdoor.audit.outputs.facts import Facts, read_facts
from dutchdoor.audit.outputs.probe import NO_FIGURES, ProbeFigures, probe_figures
from dutchdoor.audit.outputs.samples import ShownSamples, read_samples
from dutchdoor.audit.outputs.text import clean, cleaned, short
from dutchdoor.audit.outputs.whole import OUTWARD, Whole, read_whole
from dutchdoor.audit.service import Audit
from dutchdoor.audit.summary import CARD_NAME
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.evidence.decision import Decision

__all__ = ["Material", "Paper", "gather"]

_QUOTED = (DocumentKind.S2, DocumentKind.C2, DocumentKind.C3, DocumentKind.T2)


@dataclass(frozen=True)
class Paper:
    """A document of the audit as it may be quoted. parts: text under each heading, lower case."""

    kind: DocumentKind
    digest: str
    parts: Mapping[str, str]
    front: Mapping[str, Any]
    withheld: bool = False

    def part(self, *names: str) -> str:
        """What stands under the first heading that is or begins with one of `names`, else ""."""
        if self.withheld:
            return f"withheld: {self.digest}"
        for name in names:
            for heading, text in self.parts.items():
                if heading.startswith(name.casefold()) and text.strip():
                    return text.strip()
        return ""

    def line(self, name: str) -> str:
        """A text in the front matter, "" where there is none."""
        value = self.front.get(name)
        return value.strip() if isinstance(value, str) else ""

    def listed(self, name: str) -> tuple[str, ...]:
        """A list of texts in the front matter, empty where there is none."""
        rows = self.front.get(name)
        if self.withheld or not isinstance(rows, list):
            return ()
        return tuple(str(row) for row in rows if isinstance(row, str | int))


@dataclass(frozen=True)
class Material:
    """One audit, clean of control characters.

    completed_ms: 0 for a draft. decision: the one in force on the bundle, if any. whole: what only
    a full audit has, None for a short one.
    """

    status: AuditStatus
    objective: str
    started_ms: int
    completed_ms: int
    evaluations: tuple[Evaluation, ...]
    findings: tuple[Finding, ...]
    probe: Mapping[str, str]
    access_depths: tuple[str, ...]
    figures: ProbeFigures
    curves: tuple[Curve, ...]
    amend_notes: tuple[str, ...]
    artifacts: tuple[Artifact, ...]
    papers: Mapping[DocumentKind, Paper]
    facts: Facts
    decision: Decision | None = None
    samples: tuple[ShownSamples, ...] = ()
    whole: Whole | None = None

    @property
    def tested(self) -> bool:
        """Whether anything was tested: without that, that nothing was found says nothing."""
        return bool(self.evaluations or self.curves)

    @property
    def draft(self) -> bool:
        return self.completed_ms == 0

    @property
    def stamp_ms(self) -> int:
        """The date that stands on the outputs: of completion, of the start for a draft."""
        return self.completed_ms or self.started_ms

    @property
    def model(self) -> str:
        return self.status.model

    @property
    def bundle(self) -> str:
        return self.status.bundle

    @property
    def audit(self) -> str:
        return self.status.audit

    @property
    def documents(self) -> tuple[DocumentStatus, ...]:
        return self.status.documents

    @property
    def ranked(self) -> tuple[Finding, ...]:
        """The findings, the worst first."""
        order = list(Severity)
        return tuple(sorted(self.findings, key=lambda row: -order.index(row.severity)))

    def quote(self, kind: DocumentKind, *names: str) -> str:
        """What a document of the audit says under one of these headings, else ""."""
        paper = self.papers.get(kind)
        return paper.part(*names) if paper else ""


def gather(audit: Audit, decision: Decision | None = None) -> Material:
    """The material of an audit. decision: the one in force on its bundle, if any.

    Figures and findings of a completed audit are those of its signed summary.
    Raises Invalid, Tampered: a document, the card or the facts are not in form or were changed.
    """
    status, summary, folder = audit.status(), audit.summary(), audit.path
    files = {row.kind: row.file for row in status.documents}
    testing = _testing(folder, files)
    evaluations = summary.evaluations if summary else testing.evaluations if testing else ()
    findings = summary.findings if summary else testing.findings if testing else ()
    probe = summary.probe if summary else testing.probe if testing else {}
    depths = summary.access_depths if summary else testing.access_depths if testing else ()
    papers = _papers(folder, files)
    tested = papers.get(DocumentKind.T2)
    hidden = tested is not None and tested.withheld
    fitted = probe.get("card_digest", "")
    curves, notes = read_curves(folder, audit.subject.bundle, testing.amend if testing else "")
    shown = _clean_status(status)
    return Material(
        status=shown,
        objective=clean(audit.subject.objective),
        started_ms=audit.subject.started_ms,
        completed_ms=summary.completed_ms if summary else 0,
        evaluations=tuple(Evaluation(**cleaned(row.to_body())) for row in evaluations),
        findings=tuple(_finding(row, hidden=hidden) for row in findings),
        probe=cleaned(dict(probe)),
        access_depths=cleaned(tuple(depths)),
        figures=probe_figures(_card(folder, fitted)) if fitted else NO_FIGURES,
        curves=curves,
        amend_notes=notes,
        artifacts=_artifacts(folder, files),
        papers=papers,
        facts=read_facts(folder),
        decision=decision,
        samples=read_samples(AuditFolder(folder).logs, evaluations, withheld=hidden),
        whole=read_whole(folder, shown.documents) if status.scale is Scale.FULL else None,
    )


def _clean_status(status: AuditStatus) -> AuditStatus:
    rows = tuple(
        replace(row, title=clean(row.title), because=clean(row.because)) for row in status.documents
    )
    return replace(
        status,
        documents=rows,
        findings=(),
        model=clean(status.model),
        auditor=clean(status.auditor),
        next=clean(status.next),
    )


def _finding(finding: Finding, *, hidden: bool) -> Finding:
    """The finding made clean. hidden: its words stay in the audit, their digest leaves it."""
    if hidden:
        gone = f"withheld: {canonical.digest(finding.to_body())}"
        reason = gone if finding.reason else ""
        finding = replace(finding, text=gone, harm="withheld", mitigations=(), reason=reason)
    return Finding.from_body(cleaned(finding.to_body()))


def _testing(folder: Path, files: Mapping[DocumentKind, str]) -> Testing | None:
    try:
        document = read_document(folder / files[DocumentKind.T2])
        return Testing(document.front)
    except (NotFound, KeyError):
        return None


def _card(folder: Path, digest: str) -> bytes:
    with (folder / CARD_NAME).open("rb") as file:
        data = file.read(DOCUMENT_BYTES_MAX)
    if "sha256:" + canonical.sha256_hex(data) != digest:
        raise Invalid("the probe's card is not the one that was measured", code="card_changed")
    return data


def _artifacts(folder: Path, files: Mapping[DocumentKind, str]) -> tuple[Artifact, ...]:
    try:
        front = read_document(folder / files[DocumentKind.C1]).front
    except (NotFound, KeyError):
        return ()
    rows = front.get("artifacts")
    return read_artifacts(cleaned(rows)) if isinstance(rows, list) else ()


def _papers(folder: Path, files: Mapping[DocumentKind, str]) -> dict[DocumentKind, Paper]:
    found = {}
    for kind in _QUOTED:
        if kind not in files:
            continue
        try:
            with (folder / files[kind]).open("rb") as file:
                data = file.read(DOCUMENT_BYTES_MAX + 1)
        except FileNotFoundError:
            continue
        document = Document.decode(data, where=files[kind])
        withheld = str(document.front.get("sensitivity") or "").casefold() not in OUTWARD
        found[kind] = Paper(
            kind=kind,
            digest="sha256:" + canonical.sha256_hex(data),
            parts={} if withheld else _parts(clean(document.body)),
            front={} if withheld else cleaned(document.front),
            withheld=withheld,
        )
    return found


def _parts(body: str) -> dict[str, str]:
    """The text under each heading, without comments and places that nobody filled."""
    plain = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    parts: dict[str, str] = {}
    heading = ""
    for line in plain.splitlines():
        found = re.fullmatch(r"#{1,6}\s+(?:\d+[.)]?\s+)?(.*?)\s*", line)
        if found:
            heading = found[1].casefold()
            parts.setdefault(heading, "")
        else:
            parts[heading] = parts.get(heading, "") + line + "\n"
    return {name: text for name, text in parts.items() if "[write here" not in text}


def describe(decision: Decision | None) -> str:
    """The decision in one sentence."""
    if decision is None:
        return "No release decision is in force on this bundle."
    return f"Decision {short(decision.id)}: level {str(decision.level).replace('_', ' ')}."
