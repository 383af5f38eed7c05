"""What of an audit a worksheet can point at, each by name and digest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from dutchdoor import canonical
from dutchdoor.audit.amend.results import AMEND_NAME
from dutchdoor.audit.document import digest_of
from dutchdoor.audit.service import Audit
from dutchdoor.audit.summary import CARD_NAME, SUMMARY_NAME

__all__ = ["EvidenceKind", "Item", "evidence_of", "index"]

FILES = (AMEND_NAME, CARD_NAME, SUMMARY_NAME)


class EvidenceKind(StrEnum):
    """finding: of the audit. document: of SMACTR's. file: beside them. outside: unchecked."""

    FINDING = "finding"
    DOCUMENT = "document"
    FILE = "file"
    OUTSIDE = "outside"


class Item(NamedTuple):
    """Something to point at. says: in few words. digest: of a finding, over its canonical form."""

    kind: EvidenceKind
    name: str
    digest: str
    says: str


def evidence_of(audit: Audit) -> tuple[Item, ...]:
    """Findings, documents and files of `audit` as they are now.

    Raises Tampered: a sign-off or the summary does not verify.
    """
    status = audit.status()
    findings = [
        Item(
            EvidenceKind.FINDING,
            row.id,
            canonical.digest(row.to_body()),
            f"{row.severity}, {row.status}: {row.text}",
        )
        for row in status.findings
    ]
    documents = [
        Item(EvidenceKind.DOCUMENT, str(row.kind), row.digest, f"{row.title}: {row.state}")
        for row in status.documents
        if row.digest
    ]
    files = [
        Item(EvidenceKind.FILE, name, digest_of(audit.path / name), "")
        for name in FILES
        if (audit.path / name).is_file()
    ]
    return (*findings, *documents, *files)


def index(items: Iterable[Item]) -> Mapping[tuple[str, str], Item]:
    """The items by kind and name."""
    return {(str(item.kind), item.name): item for item in items}
