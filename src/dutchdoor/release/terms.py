"""What a decision must agree with, and the plain words it starts from."""

from __future__ import annotations

from collections.abc import Iterable

from dutchdoor.audit.card import ProbeCard
from dutchdoor.audit.summary import AuditSummary
from dutchdoor.errors import Invalid, Refused
from dutchdoor.evidence.decision import Decision

__all__ = ["DEFAULT_CONDITIONS", "default_margin", "must_be_apart", "must_be_audited"]

DEFAULT_CONDITIONS = """\
- a way around the guard becomes known that works for ordinary people
- the weights, or a copy of them, are found outside custody
- a serious incident in which this model had a part
- the model, its guard or the people it is offered to change
- the audit's figures are shown to be wrong"""


def default_margin(decision: Decision) -> str:
    """Words for the safety margin that follow from the terms alone."""
    part = 100 * decision.vectors_max // max(decision.hidden_size, 1)
    return (
        f"At most {decision.vectors_max} of {decision.hidden_size} independent vectors ({part} %) "
        "may ever leave; the guard judges before the first token; every inference is recorded; "
        "the decision ends by itself and can be revoked at any moment, also in running streams."
    )


def must_be_apart(summary: AuditSummary, approvers: Iterable[str]) -> None:
    """Raises Refused where one of the key ids approves what it signed as an auditor.

    trust.json keeps the two apart at any one time; this keeps them apart over time too.
    """
    if set(approvers) & set(summary.auditor_keys):
        message = "a key signed the audit and cannot approve what the audit is about"
        raise Refused(message, code="duties_not_separate", hint="another person approves")


def must_be_audited(decision: Decision, summary: AuditSummary, card: ProbeCard) -> None:
    """Raises Invalid unless `summary` is the audit of exactly this decision's bundle and guard.

    card: of the audited probe; the decision's threshold must be one of its thresholds.
    """
    if decision.audit != summary.digest:
        message = "the decision names another audit"
        raise Invalid(message, code="audit_missing")
    if decision.bundle != summary.bundle:
        message = "the audit is of another bundle than the decision"
        raise Invalid(message, code="other_bundle", hint="audit the bundle that is to be released")
    if not summary.probe["digest"]:
        message = "the audit fitted no probe, so there is no guard to require"
        raise Invalid(message, code="probe_missing", hint="fit the probe and audit again")
    if decision.guard.probe != summary.probe["digest"]:
        message = "the decision requires another probe than the one that was audited"
        hint = f"the audited probe is {summary.probe['digest']}"
        raise Invalid(message, code="probe_not_audited", hint=hint)
    if decision.guard.threshold not in card.thresholds:
        message = f"the audited probe has no threshold '{decision.guard.threshold}'"
        hint = "it has: " + (", ".join(card.thresholds) or "none")
        raise Invalid(message, code="unknown_threshold", hint=hint)
    blocking = [finding.id for finding in summary.findings if finding.blocks]
    if blocking:
        message = f"the audit has open severe findings: {', '.join(blocking)}"
        raise Invalid(message, code="finding_open")
