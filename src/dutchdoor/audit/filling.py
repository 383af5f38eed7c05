"""Fills the generated parts of C1, T2 and R4; what people wrote beside them stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dutchdoor import canonical
from dutchdoor.audit.amend.results import amend_part, load_results, unlock_findings
from dutchdoor.audit.artifacts import BundleFacts, artifacts_of, read_artifacts
from dutchdoor.audit.card import NO_CARD, load_card, read_card
from dutchdoor.audit.checks import read_testing
from dutchdoor.audit.document import Document, fill, write_bytes
from dutchdoor.audit.evaluate import EVALUATION_NAMES
from dutchdoor.audit.findings import FindingRules, derive, keep_settled
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.graph import needs_of
from dutchdoor.audit.imports import Imported, imported_of, imports_part
from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.model import DocumentKind, Finding
from dutchdoor.audit.report import artifacts_part, summary_part, testing_part
from dutchdoor.errors import Invalid, Refused

__all__ = [
    "ProbeFacts",
    "fill_amend",
    "fill_artifacts",
    "fill_summary",
    "fill_testing",
    "put_findings",
    "put_import",
]

IMPORTS_MAX = 64


@dataclass(frozen=True)
class ProbeFacts:
    """A fitted probe: the digest of its sealed form, and its card (canonical JSON, as fitted)."""

    digest: str
    card: bytes


def fill_artifacts(folder: AuditFolder, facts: BundleFacts) -> None:
    """C1 from a bundle's header; gap notes that people wrote stay."""
    document = folder.read(DocumentKind.C1)
    earlier = read_artifacts(document.front.get("artifacts") or ())
    rows = artifacts_of(facts, {row.name: row.gap for row in earlier})
    front = {**document.front, "collected": True, "artifacts": [row.to_body() for row in rows]}
    body = fill(document.body, "artifacts", artifacts_part(rows))
    folder.write(DocumentKind.C1, Document(front, body))


def fill_testing(
    folder: AuditFolder,
    measured: Sequence[Evaluation],
    access_depth: str,
    probe: ProbeFacts | None,
) -> tuple[Finding, ...]:
    """T2 from new figures: those that were not measured again stay, findings are derived anew."""
    testing = read_testing(folder)
    rows = {row.name: row for row in (*testing.evaluations, *measured)}
    known = [rows[name] for name in EVALUATION_NAMES if name in rows]
    fitted = testing.probe
    if probe is not None:
        read_card(probe.card)
        write_bytes(folder.card, probe.card)
        card_digest = "sha256:" + canonical.sha256_hex(probe.card)
        fitted = {"digest": probe.digest, "card_digest": card_digest}
    checklist = folder.read(DocumentKind.C1)
    artifacts = read_artifacts(checklist.front.get("artifacts") or ())
    card = load_card(folder.card, fitted["card_digest"]) if fitted["digest"] else NO_CARD
    derived = derive(
        known,
        artifacts,
        fitted,
        card,
        FindingRules(),
        unlock=unlock_findings(folder.path, testing.amend),
    )
    findings = keep_settled(derived, testing.findings)
    depths = {row.access_depth for row in measured if row.is_measured}
    _put(folder, known, findings, fitted, sorted({*testing.access_depths, access_depth, *depths}))
    return findings


def fill_amend(folder: AuditFolder) -> tuple[Finding, ...]:
    """T2's part on the amend test in `amend.json`; findings are derived anew.

    Raises NotFound: none was run. Raises Invalid: it did not come to its end.
    """
    results = load_results(folder.path)
    if not results.complete:
        hint = "run 'dutchdoor audit amend' again: it goes on where it was"
        raise Invalid("the amend test is not complete", code="amend_unfinished", hint=hint)
    document = folder.read(DocumentKind.T2).with_front(amend=results.digest)
    body = fill(document.body, "amend", amend_part(results))
    folder.write(DocumentKind.T2, Document(document.front, body))
    return fill_testing(folder, (), "audit", None)


def put_findings(folder: AuditFolder, findings: Sequence[Finding]) -> None:
    """T2 with these findings; all else as it was."""
    testing = read_testing(folder)
    _put(folder, testing.evaluations, findings, testing.probe, testing.access_depths)


def put_import(folder: AuditFolder, imported: Imported) -> None:
    """T2 with another tool's result in place of an earlier one of the same file; else as it was."""
    document = folder.read(DocumentKind.T2)
    rows = [row for row in imported_of(document.front) if row.digest != imported.digest]
    if len(rows) >= IMPORTS_MAX:
        message = f"an audit takes at most {IMPORTS_MAX} results of other tools"
        raise Refused(message, code="too_many_imports")
    front = {**document.front, "imports": [row.to_body() for row in (*rows, imported)]}
    folder.write(DocumentKind.T2, Document(front, document.body))
    testing = read_testing(folder)
    _put(folder, testing.evaluations, testing.findings, testing.probe, testing.access_depths)


def fill_summary(folder: AuditFolder) -> None:
    """R4's generated part, from the documents it stands on as they are now."""
    digests = folder.digests()
    on = {kind: digests[kind] for kind in needs_of(DocumentKind.R4, folder.kinds)}
    testing = read_testing(folder)
    document = folder.read(DocumentKind.R4)
    rows = [{"kind": str(kind), "digest": digest} for kind, digest in on.items()]
    part = summary_part(on, testing.evaluations, testing.findings, testing.probe)
    body = fill(document.body, "summary", part)
    folder.write(DocumentKind.R4, Document({**document.front, "documents": rows}, body))


def _put(
    folder: AuditFolder,
    evaluations: Sequence[Evaluation],
    findings: Sequence[Finding],
    probe: Mapping[str, str],
    access_depths: Sequence[str],
) -> None:
    document = folder.read(DocumentKind.T2)
    front = {
        **document.front,
        "tested": True,
        "access": list(access_depths),
        "evaluations": [row.to_body() for row in evaluations],
        "probe": dict(probe),
        "findings": [row.to_body() for row in findings],
    }
    others = imports_part(imported_of(front))
    part = testing_part(evaluations, findings, probe, access_depths)
    part = f"{part}\n\n{others}" if others else part
    folder.write(DocumentKind.T2, Document(front, fill(document.body, "testing", part)))
