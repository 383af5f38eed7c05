"""The audit's signed summary: what a release decision stands on.

Its digest is over the bytes of the envelope, so that `sha256sum summary.json` shows it, and it is
what a decision names in `audit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.document import DOCUMENT_BYTES_MAX
from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.model import DocumentKind, Finding, Scale
from dutchdoor.audit.roles import audit_keys, document_keys
from dutchdoor.errors import Invalid, NotFound, Tampered
from dutchdoor.evidence.statement import open_statement

__all__ = [
    "CARD_NAME",
    "SUMMARY_KIND",
    "SUMMARY_NAME",
    "AuditSummary",
    "audit_keys",
    "document_keys",
    "find_summary",
    "open_summary",
]

SUMMARY_KIND = "audit_summary"
SUMMARY_NAME = "summary.json"
CARD_NAME = "probe-card.json"


@dataclass(frozen=True)
class AuditSummary:
    """What an audit found, whole. digest: of the signed envelope, "" before it is signed.

    documents: kind and digest of each signed document. probe: `digest` and `card_digest`, both ""
    where none was fitted. access_depths: the depths that the auditor's calls had. scale: how much
    of the method the audit took. auditor_keys: key ids of the auditors who signed its documents.
    """

    audit: str
    bundle: str
    model: str
    auditor: str
    documents: Mapping[DocumentKind, str]
    evaluations: tuple[Evaluation, ...]
    findings: tuple[Finding, ...]
    probe: Mapping[str, str]
    access_depths: tuple[str, ...]
    started_ms: int
    completed_ms: int
    digest: str = ""
    scale: Scale = Scale.SHORT
    auditor_keys: tuple[str, ...] = ()

    def to_body(self) -> dict[str, Any]:
        """The statement's body, canonical values only."""
        return {
            "audit": self.audit,
            "bundle": self.bundle,
            "model": self.model,
            "auditor": self.auditor,
            "documents": [
                {"kind": str(kind), "digest": digest} for kind, digest in self.documents.items()
            ],
            "evaluations": [evaluation.to_body() for evaluation in self.evaluations],
            "findings": [finding.to_body() for finding in self.findings],
            "probe": dict(self.probe),
            "access_depths": list(self.access_depths),
            "started_ms": self.started_ms,
            "completed_ms": self.completed_ms,
            "scale": str(self.scale),
            "auditor_keys": list(self.auditor_keys),
        }


def open_summary(envelope: bytes, keys: Mapping[str, bytes]) -> AuditSummary:
    """The summary in `envelope` (unverified bytes), signed by one of `keys` at least.

    keys: trusted Ed25519 public keys by key id, from trust.json.
    Raises Invalid: malformed, or signed by nobody who is trusted.
    """
    body = open_statement(envelope, kind=SUMMARY_KIND, keys=keys, signatures_min=1).body
    try:
        summary = AuditSummary(
            audit=body["audit"],
            bundle=body["bundle"],
            model=body["model"],
            auditor=body["auditor"],
            documents={DocumentKind(row["kind"]): row["digest"] for row in body["documents"]},
            evaluations=tuple(Evaluation.from_body(row) for row in body["evaluations"]),
            findings=tuple(Finding.from_body(row) for row in body["findings"]),
            probe={
                "digest": body["probe"]["digest"],
                "card_digest": body["probe"]["card_digest"],
            },
            access_depths=tuple(body["access_depths"]),
            started_ms=body["started_ms"],
            completed_ms=body["completed_ms"],
            digest="sha256:" + canonical.sha256_hex(envelope),
            scale=Scale(body.get("scale", Scale.SHORT)),
            auditor_keys=tuple(body.get("auditor_keys", ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Invalid("not an audit summary", code="bad_summary") from error
    # Summaries of before there were scales are of scale short and say nothing of keys.
    if summary.to_body() != {"scale": str(Scale.SHORT), "auditor_keys": [], **body}:
        raise Invalid("an audit summary with unknown fields", code="bad_summary")
    return summary


def find_summary(audits: Path, digest: str, keys: Mapping[str, bytes]) -> AuditSummary:
    """The signed summary with this digest, from the folder of all audits.

    Raises NotFound: there is none. Raises Invalid: it is not signed by a trusted key. Raises
    Tampered: it was moved.
    """
    for path in sorted(audits.glob(f"*/{SUMMARY_NAME}")):
        with path.open("rb") as file:
            data = file.read(DOCUMENT_BYTES_MAX)
        if "sha256:" + canonical.sha256_hex(data) == digest:
            summary = open_summary(data, keys)
            if summary.audit != path.parent.name:
                message = "the summary lies in another audit's folder"
                raise Tampered(message, code="audit_changed", where=str(path))
            return summary
    hint = "complete the audit first: dutchdoor audit status"
    raise NotFound(f"no completed audit has the digest {digest}", code="audit_missing", hint=hint)
