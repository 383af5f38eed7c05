"""What `status` shows: where every document stands, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from dutchdoor.audit.checks import check_ready, read_testing
from dutchdoor.audit.documents.history import check_copies
from dutchdoor.audit.folder import AuditFolder, AuditSubject, missing_roles
from dutchdoor.audit.graph import Standing, standings
from dutchdoor.audit.model import (
    SPECIFICATIONS,
    AuditStatus,
    DocumentKind,
    DocumentState,
    DocumentStatus,
    Finding,
    Scale,
    Stage,
)
from dutchdoor.audit.summary import AuditSummary
from dutchdoor.audit.template import TEMPLATES
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Trust

__all__ = ["is_post_audit", "standings_of", "status_of"]


def is_post_audit(kind: DocumentKind) -> bool:
    """Whether the document is written after the summary is signed."""
    return SPECIFICATIONS[kind].stage is Stage.POST_AUDIT


def standings_of(
    folder: AuditFolder, subject: AuditSubject, trust: Trust
) -> dict[DocumentKind, Standing]:
    """Where each document stands. Raises Tampered: a sign-off does not verify."""
    found = standings(folder.digests(), folder.signatures(subject, trust))
    for kind, signature in folder.half_signed(subject, trust).items():
        if found[kind].state is DocumentState.OPEN and signature.digest == folder.digests()[kind]:
            names = " and ".join(missing_roles(signature, subject, trust))
            because = f"signed by {signature.by}, waits for {names} to sign it too"
            found[kind] = Standing(DocumentState.OPEN, because)
    return found


def status_of(
    folder: AuditFolder, subject: AuditSubject, trust: Trust, summary: AuditSummary | None
) -> AuditStatus:
    """An audit at a glance. summary: the verified one, None before the audit is completed.

    Raises Tampered: a sign-off does not verify, or a signed version in history/ is another.
    """
    check_copies(folder, subject, trust)
    digests = folder.digests()
    try:
        findings = read_testing(folder).findings
    except Invalid:
        findings = ()
    rows = tuple(
        DocumentStatus(
            kind=kind,
            title=SPECIFICATIONS[kind].title,
            producer=SPECIFICATIONS[kind].producer,
            file=TEMPLATES[kind],
            digest=digests[kind],
            state=standing.state,
            because=standing.because,
        )
        for kind, standing in standings_of(folder, subject, trust).items()
    )
    return AuditStatus(
        audit=subject.audit,
        bundle=subject.bundle,
        model=subject.model,
        auditor=subject.auditor,
        documents=rows,
        findings=findings,
        completed=summary is not None,
        summary=summary.digest if summary else "",
        next=_next(folder, subject, rows, findings, completed=summary is not None),
        scale=subject.scale,
    )


def _next(
    folder: AuditFolder,
    subject: AuditSubject,
    rows: Sequence[DocumentStatus],
    findings: Sequence[Finding],
    *,
    completed: bool,
) -> str:
    unsigned = [row for row in rows if row.state is not DocumentState.SIGNED]
    row = next((row for row in unsigned if completed or not is_post_audit(row.kind)), None)
    if completed:
        done = "the audit is completed: a release may be proposed"
        if row is None or subject.scale is Scale.SHORT:
            return done
        return f"{done}; {row.file} is still to be written and signed"
    if row is None:
        open_ones = [finding.id for finding in findings if finding.blocks]
        if open_ones:
            return f"settle the severe findings: {', '.join(open_ones)}"
        return "complete the audit: sign its summary"
    if row.state is DocumentState.MISSING:
        return f"restore {row.file}"
    try:
        check_ready(row.kind, folder, subject)
    except Invalid as error:
        finish = f"finish {row.file}: {error.message}"
        # Where the figures are there, something else is missing, and the message says what.
        tested = row.kind is DocumentKind.T2 and read_testing(folder).evaluations
        return finish if tested else _TO_DO.get(row.kind, finish)
    return f"read {row.file} and sign it"


_TO_DO = {
    DocumentKind.C1: "collect the artifacts: dutchdoor audit collect",
    DocumentKind.T2: "run the evaluations: dutchdoor audit run",
    DocumentKind.T3: "read T3-risk-chart.md and sign it: signing makes its chart anew",
    DocumentKind.R4: "write your view of the summary report: dutchdoor audit report, then view",
}
