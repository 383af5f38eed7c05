"""What a decision must agree with, and the plain words it starts from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dutchdoor.audit.card import ProbeCard
from dutchdoor.audit.outputs.facts import COMPONENTS
from dutchdoor.audit.summary import AuditSummary
from dutchdoor.errors import Invalid, Refused
from dutchdoor.evidence.decision import Decision, Level
from dutchdoor.evidence.terms import ComponentAccess, ComponentTerms, Terms
from dutchdoor.release.combinations.check import check_combination
from dutchdoor.release.export.conditions import must_be_tested
from dutchdoor.release.model import DAY_MS, DEFAULTS
from dutchdoor.release.profiles.model import NO_PROFILE
from dutchdoor.release.stages.gates import check_stages

__all__ = [
    "DEFAULT_CONDITIONS",
    "complete",
    "default_components",
    "default_margin",
    "must_agree",
    "must_be_apart",
    "must_be_audited",
    "must_stand",
    "placeholders",
]

DEFAULT_CONDITIONS = (
    "a way around the guard becomes known that works for ordinary people",
    "the weights, or a copy of them, are found outside custody",
    "a serious incident in which this model had a part",
    "the model, its guard or the people it is offered to change",
    "the audit's figures are shown to be wrong",
)

_PARAMETERS = "Model parameters (Final)"
_ACCESS = {
    Level.FULLY_CLOSED: ComponentAccess.AUDITORS,
    Level.GRADUAL_STAGED: ComponentAccess.VETTED,
    Level.HOSTED: ComponentAccess.SERVED,
    Level.CLOUD_API: ComponentAccess.SERVED,
    Level.DOWNLOADABLE: ComponentAccess.GATED_DOWNLOAD,
    Level.FULLY_OPEN: ComponentAccess.PUBLIC,
}
_LEAVES = (ComponentAccess.GATED_DOWNLOAD, ComponentAccess.PUBLIC)
_MAY_LEAVE = {
    Level.DOWNLOADABLE: _LEAVES,
    Level.FULLY_OPEN: (ComponentAccess.PUBLIC,),
}


def default_components(level: Level) -> tuple[ComponentTerms, ...]:
    """All 17 components: the final parameters shared as the level says, the others closed.

    At `fully_open` all are public. Licences are nobody's to guess: none is named.
    """
    others = ComponentAccess.PUBLIC if level is Level.FULLY_OPEN else ComponentAccess.CLOSED
    return tuple(
        ComponentTerms(name, _ACCESS[level] if name == _PARAMETERS else others)
        for name in COMPONENTS
    )


def complete(terms: Terms, decision: Decision) -> Terms:
    """`terms` with a default for what they leave open: what a new proposal starts from.

    Components that are not named are as `default_components` says; the day of review is the
    decision's last, or DEFAULTS.review_days after its first where that is earlier.
    """
    given = {row.name: row for row in terms.components}
    latest_ms = decision.not_before_ms + DEFAULTS.review_days * DAY_MS
    return replace(
        terms,
        profile=terms.profile or NO_PROFILE,
        components=tuple(given.get(row.name, row) for row in default_components(decision.level)),
        safety_margin=terms.safety_margin or default_margin(decision),
        void_if=terms.void_if or DEFAULT_CONDITIONS,
        review_by_ms=terms.review_by_ms or min(decision.not_after_ms, latest_ms),
    )


def must_agree(decision: Decision) -> None:
    """Raises Invalid where the components say something else than the level does."""
    row = next((row for row in decision.terms.components if row.name == _PARAMETERS), None)
    if row is None:
        return
    leaves = row.access in _LEAVES
    allowed = _MAY_LEAVE.get(decision.level, ())
    if leaves and not allowed:
        message = f"at level {decision.level} the parameters do not leave; {row.access} says so"
        hint = "at most: served; or propose level downloadable, with all it needs"
        raise Invalid(message, code="components_disagree", hint=hint)
    if allowed and row.access not in allowed:
        message = f"level {decision.level} shares the parameters, and {row.access} does not"
        hint = "write access: " + " or ".join(allowed)
        raise Invalid(message, code="components_disagree", hint=hint)


def placeholders(terms: Terms, mark: str) -> bool:
    """Whether a place is left in `terms` in which somebody has to write."""
    return mark in repr(terms)


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


def must_stand(decision: Decision, summary: AuditSummary, card: ProbeCard, audits: Path) -> None:
    """Raises where no such decision is made, neither proposed nor approved.

    audits: the folder of all audits.
    Raises Invalid: as `must_be_audited`, weights would leave untested, or a condition of the plan
    could not be checked. Raises Refused: it opens a forbidden combination.
    """
    must_be_audited(decision, summary, card)
    must_be_tested(decision, summary, audits)
    check_combination(decision)
    check_stages(decision)


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
