"""The audit's vocabulary: SMACTR's documents, who writes them, what they stand on, findings.

Source: Raji et al. 2020 (arXiv 2001.00973) for stages and document names; the contents of the
templates are ours and are meant to be edited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from dutchdoor.errors import Invalid

__all__ = [
    "BLOCKING",
    "SPECIFICATIONS",
    "AuditStatus",
    "DocumentKind",
    "DocumentState",
    "DocumentStatus",
    "Finding",
    "FindingStatus",
    "Producer",
    "Scale",
    "Severity",
    "Signature",
    "Specification",
    "Stage",
]


class Stage(StrEnum):
    """The six phases, in order; the last is no letter of the acronym."""

    SCOPING = "scoping"
    MAPPING = "mapping"
    COLLECTION = "artifact collection"
    TESTING = "testing"
    REFLECTION = "reflection"
    POST_AUDIT = "post-audit"


class Producer(StrEnum):
    """Who writes a document."""

    AUDITOR = "auditor"
    PRODUCT = "product and engineering"
    JOINT = "auditor and product together"
    ORGANISATION = "organisation"


class Scale(StrEnum):
    """How much of the method an audit takes: its five shortest documents, or every one."""

    SHORT = "short"
    FULL = "full"


class DocumentKind(StrEnum):
    """The codes of SMACTR's documents, in the order in which they are due."""

    S0 = "S0"
    S1 = "S1"
    S2 = "S2"
    S3 = "S3"
    S4 = "S4"
    M1 = "M1"
    M2 = "M2"
    M3 = "M3"
    M4 = "M4"
    M5 = "M5"
    C1 = "C1"
    C2 = "C2"
    C3 = "C3"
    C4 = "C4"
    T1 = "T1"
    T2 = "T2"
    T3 = "T3"
    R1 = "R1"
    R2 = "R2"
    R3 = "R3"
    R4 = "R4"
    P1 = "P1"
    P2 = "P2"


@dataclass(frozen=True)
class Specification:
    """What one document is: its stage, its writer, and what it is written from."""

    kind: DocumentKind
    stage: Stage
    title: str
    producer: Producer
    needs: tuple[DocumentKind, ...]


_K = DocumentKind
_ROWS = (
    (_K.S0, Stage.SCOPING, "Principles", Producer.ORGANISATION, ()),
    (_K.S1, Stage.SCOPING, "Product requirements", Producer.PRODUCT, ()),
    (_K.S2, Stage.SCOPING, "Scope memo", Producer.AUDITOR, (_K.S0, _K.S1)),
    (_K.S3, Stage.SCOPING, "Ethical review of the use", Producer.AUDITOR, (_K.S0, _K.S1)),
    (_K.S4, Stage.SCOPING, "Social impact assessment", Producer.AUDITOR, (_K.S1,)),
    (_K.M1, Stage.MAPPING, "Stakeholder map", Producer.AUDITOR, (_K.S1,)),
    (_K.M2, Stage.MAPPING, "System map", Producer.JOINT, (_K.S1,)),
    (_K.M3, Stage.MAPPING, "Review of earlier history files", Producer.AUDITOR, ()),
    (_K.M4, Stage.MAPPING, "Field study", Producer.AUDITOR, (_K.M1,)),
    (_K.M5, Stage.MAPPING, "First failure analysis", Producer.JOINT, (_K.S3, _K.S4, _K.M4)),
    (_K.C1, Stage.COLLECTION, "Checklist of artifacts", Producer.AUDITOR, ()),
    (_K.C2, Stage.COLLECTION, "Model card", Producer.PRODUCT, ()),
    (_K.C3, Stage.COLLECTION, "Datasheet", Producer.PRODUCT, ()),
    (_K.C4, Stage.COLLECTION, "Other artifacts", Producer.PRODUCT, ()),
    (_K.T1, Stage.TESTING, "Review notes", Producer.AUDITOR, (_K.C1, _K.C2, _K.C3, _K.C4)),
    (_K.T2, Stage.TESTING, "Testing report", Producer.AUDITOR, (_K.M5,)),
    (_K.T3, Stage.TESTING, "Ethical risk chart", Producer.AUDITOR, (_K.T2, _K.S4, _K.M4)),
    (_K.R1, Stage.REFLECTION, "Final failure analysis", Producer.JOINT, (_K.T2, _K.T3, _K.M5)),
    (_K.R2, Stage.REFLECTION, "Mitigation plan", Producer.JOINT, (_K.T3, _K.R1)),
    (_K.R3, Stage.REFLECTION, "Design history file", Producer.AUDITOR, (_K.R1, _K.R2)),
    (_K.R4, Stage.REFLECTION, "Summary report", Producer.AUDITOR, (_K.R3,)),
    (_K.P1, Stage.POST_AUDIT, "Release decision", Producer.ORGANISATION, (_K.R2, _K.R4)),
    (_K.P2, Stage.POST_AUDIT, "Mitigation tracking", Producer.PRODUCT, (_K.R2,)),
)
SPECIFICATIONS: Mapping[DocumentKind, Specification] = MappingProxyType(
    {row[0]: Specification(*row) for row in _ROWS}
)
"""Every document of the method; an audit of scale short has five (`template.documents_of`)."""


class DocumentState(StrEnum):
    """Where a document stands.

    waiting: what it needs is not signed. open: may be written and signed. signed: signed and
    unchanged. changed: edited after it was signed. reopened: signed, but what it stands on is not
    what it stood on then. missing: its file is gone.
    """

    WAITING = "waiting"
    OPEN = "open"
    SIGNED = "signed"
    CHANGED = "changed"
    REOPENED = "reopened"
    MISSING = "missing"


@dataclass(frozen=True)
class Signature:
    """A verified sign-off. stands_on: digests of the needed documents when it was given.

    version: 1 for the first sign-off of a document, 2 for the next. keys: of all who signed, where
    a document takes two; key: of who signed first, whose name `signer` is. person: that signer in
    `people.yaml`, people: the digest of that file, both "" where there was none. second,
    second_key, second_person, second_ms: who signed second, "" and 0 where nobody said.
    """

    kind: DocumentKind
    digest: str
    stands_on: Mapping[DocumentKind, str]
    signer: str
    key: str
    time_ms: int
    version: int = 1
    keys: tuple[str, ...] = ()
    person: str = ""
    people: str = ""
    second: str = ""
    second_key: str = ""
    second_person: str = ""
    second_ms: int = 0

    @property
    def by(self) -> str:
        """Who signed, for people: the names, and where a second one has none, the key."""
        first = f"{self.person} ({self.signer})" if self.person else self.signer
        others = [key for key in self.keys if key != self.key]
        if not others:
            return first
        named = f"{self.second_person} ({self.second})" if self.second_person else self.second
        return f"{first} and {named or others[0]}"


@dataclass(frozen=True)
class DocumentStatus:
    """One line of `status`. because: why it is not signed, or who signed it, as a sentence."""

    kind: DocumentKind
    title: str
    producer: Producer
    file: str
    digest: str
    state: DocumentState
    because: str


class Severity(StrEnum):
    """How bad a finding is, from a remark to a stop."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


BLOCKING = frozenset({Severity.HIGH, Severity.CRITICAL})
"""Findings of these severities stop the audit while they are open."""


class FindingStatus(StrEnum):
    """open; accepted as it is, with a reason; mitigated, with the reason saying by what."""

    OPEN = "open"
    ACCEPTED = "accepted"
    MITIGATED = "mitigated"


@dataclass(frozen=True)
class Finding:
    """Something the audit found.

    principle: an id of S0. harm: which risk is meant. mitigations: what would help, in words.
    reason, by: why and by whom it was accepted or said to be mitigated.
    """

    id: str
    severity: Severity
    principle: str
    harm: str
    text: str
    mitigations: tuple[str, ...] = ()
    status: FindingStatus = FindingStatus.OPEN
    reason: str = ""
    by: str = ""

    @property
    def blocks(self) -> bool:
        """Whether the audit cannot be completed because of it."""
        return self.severity in BLOCKING and self.status is FindingStatus.OPEN

    def to_body(self) -> dict[str, Any]:
        """Canonical values."""
        return {
            "id": self.id,
            "severity": str(self.severity),
            "principle": self.principle,
            "harm": self.harm,
            "text": self.text,
            "mitigations": list(self.mitigations),
            "status": str(self.status),
            "reason": self.reason,
            "by": self.by,
        }

    @classmethod
    def from_body(cls, body: Any) -> Finding:
        """The finding of canonical values or front matter.

        Raises Invalid: a field is missing, unknown or of the wrong kind; or it is settled without
        a reason.
        """
        try:
            finding = cls(
                id=_text(body["id"]),
                severity=Severity(body["severity"]),
                principle=_text(body["principle"]),
                harm=_text(body["harm"]),
                text=_text(body["text"]),
                mitigations=tuple(_text(item) for item in body.get("mitigations", [])),
                status=FindingStatus(body.get("status", "open")),
                reason=_text(body.get("reason", "")),
                by=_text(body.get("by", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Invalid("not a finding", code="bad_finding") from error
        if finding.status is not FindingStatus.OPEN and not finding.reason.strip():
            message = f"finding {finding.id} is {finding.status} without a reason"
            raise Invalid(message, code="finding_without_reason", hint="say why, in its reason")
        return finding


@dataclass(frozen=True)
class AuditStatus:
    """The whole of an audit at a glance. next: what to do next, as one sentence."""

    audit: str
    bundle: str
    model: str
    auditor: str
    documents: tuple[DocumentStatus, ...]
    findings: tuple[Finding, ...]
    completed: bool
    summary: str
    next: str
    scale: Scale = Scale.SHORT


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Invalid("a finding holds something that is no text", code="bad_finding")
    return value
