"""What a document must say before anybody may sign it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from dutchdoor.audit.amend.results import unlock_findings
from dutchdoor.audit.artifacts import Artifact, read_artifacts
from dutchdoor.audit.card import NO_CARD, load_card
from dutchdoor.audit.document import Document
from dutchdoor.audit.documents.crossing import check_cited, check_document
from dutchdoor.audit.evaluate import log_digest
from dutchdoor.audit.findings import FindingRules, derive
from dutchdoor.audit.folder import AuditFolder, AuditSubject
from dutchdoor.audit.graph import needs_of
from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.model import DocumentKind, Finding, Scale
from dutchdoor.audit.template import TEMPLATES
from dutchdoor.errors import DutchdoorError, Invalid, Tampered

__all__ = ["PLACEHOLDER", "Testing", "check_ready", "read_testing"]

PLACEHOLDER = re.compile(r"\[write\s+here")


class Testing:
    """What T2's front matter says, checked for form."""

    def __init__(self, front: Mapping[str, Any]) -> None:
        self.evaluations = tuple(Evaluation.from_body(row) for row in _list(front, "evaluations"))
        self.findings = tuple(Finding.from_body(row) for row in _list(front, "findings"))
        probe = front.get("probe") or {}
        if not isinstance(probe, dict):
            raise _unfinished(DocumentKind.T2, "its probe is no mapping")
        self.probe = {
            "digest": str(probe.get("digest", "")),
            "card_digest": str(probe.get("card_digest", "")),
        }
        self.access_depths = tuple(str(item) for item in front.get("access") or ())
        self.tested = front.get("tested") is True
        self.amend = str(front.get("amend") or "")


def read_testing(folder: AuditFolder) -> Testing:
    """What the testing report says. Raises Invalid: its front matter is not in form."""
    return Testing(folder.read(DocumentKind.T2).front)


def check_ready(kind: DocumentKind, folder: AuditFolder, subject: AuditSubject) -> None:
    """Raises Invalid where the document may not be signed as it is, saying what is missing."""
    document = folder.read(kind)
    for name, expected in (
        ("document", str(kind)),
        ("audit", subject.audit),
        ("bundle", subject.bundle),
    ):
        if document.front.get(name) != expected:
            raise _unfinished(kind, f"its '{name}' is not {expected}")
    _must_be_written(kind, folder)
    check = _CHECKS.get(kind)
    if check is not None:
        check(document, folder)
    if subject.scale is Scale.FULL:
        check_document(kind, document, folder)


def _must_be_written(kind: DocumentKind, folder: AuditFolder) -> None:
    """Nobody signs a prompt in brackets, neither in the text nor in the front matter."""
    text = folder.file(kind).read_text(encoding="utf-8")
    found = PLACEHOLDER.search(text)
    if found is None:
        return
    line = text.count("\n", 0, found.start()) + 1
    where = f"{TEMPLATES[kind]}, line {line}"
    message = f"{kind} cannot be signed: {where}, still says '[write here ...]'"
    hint = "write what the brackets ask for in their place"
    if kind is DocumentKind.R4:
        hint = "write your view in its place, or: dutchdoor audit view TEXT"
    raise Invalid(message, code="document_unfinished", hint=hint)


def _check_principles(document: Document, folder: AuditFolder) -> None:
    if not _principles(document):
        raise _unfinished(DocumentKind.S0, "it names no principle")


def _check_scope(document: Document, folder: AuditFolder) -> None:
    for name in ("objective", "system", "in_scope", "access", "independence"):
        if not document.front.get(name):
            raise _unfinished(DocumentKind.S2, f"its '{name}' is empty")


def _check_artifacts(document: Document, folder: AuditFolder) -> None:
    if document.front.get("collected") is not True:
        raise _unfinished(DocumentKind.C1, "the artifacts were not collected")
    for artifact in read_artifacts(_list(document.front, "artifacts")):
        if not artifact.present and not artifact.gap.strip():
            raise _unfinished(DocumentKind.C1, f"no note says why {artifact.name} is missing")


def _check_testing(document: Document, folder: AuditFolder) -> None:
    """Findings cannot be dropped or softened, figures cannot part from their logs."""
    testing = Testing(document.front)
    if not testing.tested or not testing.evaluations:
        raise _unfinished(DocumentKind.T2, "no evaluation was run")
    principles = _principles(folder.read(DocumentKind.S0))
    given = {finding.id: finding for finding in testing.findings}
    if len(given) != len(testing.findings):
        raise _unfinished(DocumentKind.T2, "two findings have the same id")
    for finding in testing.findings:
        if finding.principle not in principles:
            message = f"finding {finding.id} names no principle of S0 ({finding.principle})"
            raise _unfinished(DocumentKind.T2, message)
    check_cited(folder, ((row.principle, row.harm) for row in testing.findings))
    artifacts = _artifacts(folder)
    fitted = testing.probe
    card = load_card(folder.card, fitted["card_digest"]) if fitted["digest"] else NO_CARD
    unlock = unlock_findings(folder.path, testing.amend)
    derived = derive(testing.evaluations, artifacts, fitted, card, FindingRules(), unlock=unlock)
    for finding in derived:
        there = given.get(finding.id)
        if there is None or (there.severity, there.text) != (finding.severity, finding.text):
            message = f"finding {finding.id} follows from the figures but is missing or changed"
            raise _unfinished(DocumentKind.T2, message)
    for evaluation in testing.evaluations:
        for name, digest in evaluation.files:
            path = folder.logs / name
            if path.parent != folder.logs or log_digest(path) != digest:
                message = f"the log of {evaluation.name} is not the one its figures came from"
                raise Tampered(message, code="log_changed", where=name)


def _check_summary(document: Document, folder: AuditFolder) -> None:
    # Whoever takes the setting away writes the view into the text, as the worked example does.
    view = document.front.get("view", "in the text")
    if not isinstance(view, str) or not view.strip():
        raise _unfinished(DocumentKind.R4, "its 'view' is empty: say what the figures mean")
    digests = folder.digests()
    needs = needs_of(DocumentKind.R4, folder.kinds)
    expected = [{"kind": str(kind), "digest": digests[kind]} for kind in needs]
    if document.front.get("documents") != expected:
        message = "its generated part is not about the documents as they are now"
        raise _unfinished(DocumentKind.R4, message)


_CHECKS: dict[DocumentKind, Callable[[Document, AuditFolder], None]] = {
    DocumentKind.S0: _check_principles,
    DocumentKind.S2: _check_scope,
    DocumentKind.C1: _check_artifacts,
    DocumentKind.T2: _check_testing,
    DocumentKind.R4: _check_summary,
}


def _artifacts(folder: AuditFolder) -> tuple[Artifact, ...]:
    return read_artifacts(_list(folder.read(DocumentKind.C1).front, "artifacts"))


def _principles(document: Document) -> set[str]:
    rows = _list(document.front, "principles")
    return {str(row["id"]) for row in rows if isinstance(row, dict) and row.get("id")}


def _list(front: Mapping[str, Any], name: str) -> list[Any]:
    value = front.get(name)
    if not isinstance(value, list):
        raise Invalid(f"'{name}' is not a list", code="document_unfinished")
    return value


def _unfinished(kind: DocumentKind, why: str) -> DutchdoorError:
    hint = f"edit {TEMPLATES[kind]}, or let the program fill it again"
    return Invalid(f"{kind} cannot be signed: {why}", code="document_unfinished", hint=hint)
