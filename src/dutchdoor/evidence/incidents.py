"""Serious incidents and near misses: the statement, its words, and who may make it.

The log holds what others rest on: of which class an incident is, of which nature, and since when
somebody knew of it. What happened is told in a document outside the log, which may name people and
so must be able to be deleted; the entry holds its digest.

Source: Code of Practice for general-purpose AI, safety and security, commitment 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.note import decode_base64
from dutchdoor.evidence.statement import open_statement

__all__ = [
    "INCIDENT_KIND",
    "REPORTS",
    "Incident",
    "IncidentClass",
    "IncidentNature",
    "open_incident",
    "parse_incident",
]

INCIDENT_KIND = "incident"
REPORTS = ("", "initial", "intermediate", "final")
"""Which report to the authority went out with this revision; none where empty."""


class IncidentClass(StrEnum):
    """How grave, from the mildest to the gravest."""

    NEAR_MISS = "near_miss"
    MINOR = "minor"
    SERIOUS = "serious"
    CRITICAL = "critical"

    def at_least(self, other: IncidentClass) -> bool:
        """Whether this is as grave as `other`, or graver."""
        order = list(IncidentClass)
        return order.index(self) >= order.index(other)


class IncidentNature(StrEnum):
    """What kind of harm; it decides by when an authority must hear of it."""

    INFRASTRUCTURE = "infrastructure"
    WEIGHTS_LEAKED = "weights_leaked"
    BREACH = "breach"
    DEATH = "death"
    SERIOUS_HARM = "serious_harm"
    OTHER = "other"


@dataclass(frozen=True)
class Incident:
    """One revision of what is known of one incident; each says everything anew.

    revision: 1 for the first. aware_ms: when the holder came to know of it; never moved later.
    resolved_ms: 0 while it is not. report: one of `REPORTS`. details: digest of the document.
    """

    id: str
    revision: int
    bundle: str
    grade: IncidentClass
    nature: IncidentNature
    aware_ms: int
    resolved_ms: int
    report: str
    details: str

    def to_body(self) -> dict[str, Any]:
        """The statement's body."""
        return {
            "incident": self.id,
            "revision": self.revision,
            "bundle": self.bundle,
            "class": str(self.grade),
            "nature": str(self.nature),
            "aware_ms": self.aware_ms,
            "resolved_ms": self.resolved_ms,
            "report": self.report,
            "details": self.details,
        }

    def check(self) -> None:
        """Raises Invalid: an incident that cannot count."""
        if not self.id or not self.bundle or not self.details:
            message = "an incident names itself, its bundle and its document"
            raise Invalid(message, code="bad_incident")
        if self.revision < 1 or self.aware_ms < 0 or self.resolved_ms < 0:
            raise Invalid("an incident with impossible numbers", code="bad_incident")
        if self.report not in REPORTS:
            hint = "known: " + ", ".join(REPORTS[1:])
            raise Invalid(f"no report '{self.report}'", code="bad_incident", hint=hint)
        clocked = self.nature is not IncidentNature.OTHER
        if clocked and not self.grade.at_least(IncidentClass.SERIOUS):
            message = f"an incident of nature {self.nature} is serious at least"
            raise Invalid(message, code="bad_incident", hint="class it serious or critical")

    def follows(self, before: Incident | None) -> None:
        """Raises Invalid: it is not the next revision after `before`."""
        if self.revision != (1 if before is None else before.revision + 1):
            raise Invalid("not the incident's next revision", code="bad_incident")
        if before is None:
            return
        if self.bundle != before.bundle:
            raise Invalid("the incident is another bundle's", code="bad_incident")
        if self.aware_ms > before.aware_ms:
            message = "when somebody came to know of an incident cannot be moved later"
            raise Invalid(message, code="bad_incident")


def open_incident(body: Mapping[str, Any], trust: Trust) -> Incident:
    """The incident of an entry's body (unverified), signed by holder, approver or auditor.

    Raises Invalid: malformed, unsigned, or the entry says something else than its envelope.
    """
    text = body.get("envelope")
    if not isinstance(text, str):
        raise Invalid("the entry holds no envelope", code="bad_incident")
    keys = {**trust.holder, **trust.approvers, **trust.auditors}
    envelope = decode_base64(text, code="bad_incident")
    claim = open_statement(envelope, kind=INCIDENT_KIND, keys=keys, signatures_min=1).body
    said = {name: value for name, value in body.items() if name != "envelope"}
    if canonical.encode(said) != canonical.encode(claim):
        raise Invalid("the entry says something else than its envelope", code="bad_incident")
    incident = parse_incident(claim)
    incident.check()
    return incident


def parse_incident(claim: Mapping[str, Any]) -> Incident:
    """The incident that `claim` (unverified) states. Raises Invalid: it states none."""
    try:
        incident = Incident(
            id=_text(claim["incident"]),
            revision=_count(claim["revision"]),
            bundle=_text(claim["bundle"]),
            grade=IncidentClass(_text(claim["class"])),
            nature=IncidentNature(_text(claim["nature"])),
            aware_ms=_count(claim["aware_ms"]),
            resolved_ms=_count(claim["resolved_ms"]),
            report=_text(claim["report"]),
            details=_text(claim["details"]),
        )
    except (KeyError, ValueError) as error:
        raise Invalid("not an incident", code="bad_incident") from error
    if incident.to_body() != {name: claim[name] for name in claim if name != "envelope"}:
        raise Invalid("an incident with unknown fields", code="bad_incident")
    return incident


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Invalid("an incident holds no text where one belongs", code="bad_incident")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Invalid("an incident holds no whole number", code="bad_incident")
    return value
