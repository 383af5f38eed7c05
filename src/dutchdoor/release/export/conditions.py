"""When weights may leave: what a decision at an open level must say and stand on."""

from __future__ import annotations

from pathlib import Path

from dutchdoor.audit.amend.results import load_results
from dutchdoor.audit.document import digest_of
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind
from dutchdoor.audit.summary import AuditSummary
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.decision import Decision, Level
from dutchdoor.evidence.terms import ComponentAccess, ComponentTerms

__all__ = [
    "OPEN_LEVELS",
    "WEIGHTS",
    "must_be_open",
    "must_be_tested",
    "opens_weights",
    "weights_of",
]

OPEN_LEVELS = (Level.DOWNLOADABLE, Level.FULLY_OPEN)
WEIGHTS = "Model parameters (Final)"
"""The weights, as the Model Openness Framework calls them."""
_LEAVES = (ComponentAccess.GATED_DOWNLOAD, ComponentAccess.PUBLIC)


def weights_of(decision: Decision) -> ComponentTerms | None:
    """What the decision says of the weights, None where it says nothing."""
    rows = decision.terms.components
    return next((row for row in rows if row.name == WEIGHTS), None)


def opens_weights(decision: Decision) -> bool:
    """Whether the decision lets the weights leave: by its level, and by what it says of them."""
    row = weights_of(decision)
    return decision.level in OPEN_LEVELS and row is not None and row.access in _LEAVES


def must_be_open(decision: Decision) -> ComponentTerms:
    """What it says of the weights. Raises Refused: they may not leave under this decision."""
    row = weights_of(decision)
    if row is None or not opens_weights(decision):
        message = f"the decision in force ({decision.level}) lets no weights leave"
        hint = (
            f"a decision at level {' or '.join(OPEN_LEVELS)} must open '{WEIGHTS}' "
            f"as {' or '.join(_LEAVES)}"
        )
        raise Refused(message, code="export_not_decided", hint=hint)
    return row


def must_be_tested(decision: Decision, summary: AuditSummary, audits: Path) -> None:
    """A decision at an open level says so of the weights, and its audit has an amend test.

    Below those levels there is nothing to check. audits: the folder of all audits.
    Raises Invalid: the weights are not opened, or no complete amend test of this bundle stands in
    the testing report that was signed: what becomes of a model in other hands was not looked at.
    """
    if decision.level not in OPEN_LEVELS:
        return
    row = weights_of(decision)
    if row is None or row.access not in _LEAVES or not row.licence:
        message = f"level {decision.level} opens the weights, and the components do not say so"
        hint = (
            f"propose with --components FILE, which holds '- {{name: {WEIGHTS}, "
            f"access: {_LEAVES[0]}, licence: Apache-2.0}}': docs/guides/export.md shows it"
        )
        raise Invalid(message, code="weights_not_opened", hint=hint)
    folder = AuditFolder(audits / summary.audit)
    hint = "run 'dutchdoor audit amend' to its end, then sign and complete the audit"
    path = folder.file(DocumentKind.T2)
    try:
        signed = digest_of(path) == summary.documents.get(DocumentKind.T2)
        named = str(folder.read(DocumentKind.T2).front.get("amend") or "")
        results = load_results(folder.path)
    except NotFound as error:
        message = "the audit has no amend test, and a level at which weights leave needs one"
        raise Invalid(message, code="amend_missing", hint=hint) from error
    if not signed or not named or results.digest != named:
        message = "the signed testing report names no amend test that is here"
        raise Invalid(message, code="amend_missing", hint=hint)
    if not results.complete or results.bundle != decision.bundle:
        message = "the amend test is not complete, or of another bundle"
        raise Invalid(message, code="amend_missing", hint=hint)
