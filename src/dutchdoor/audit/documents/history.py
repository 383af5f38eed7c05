"""The design history file R3: every signed version with its digest, and what it stood on.

From it a reader can reconstruct each decision: who signed which text when, over which earlier
texts, with which evidence; `history/` has the texts, `signatures/` the sign-offs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.catalogues.load import Catalogues
from dutchdoor.audit.document import digest_of
from dutchdoor.audit.folder import AuditFolder, AuditSubject
from dutchdoor.audit.graph import needs_of
from dutchdoor.audit.model import SPECIFICATIONS, DocumentKind
from dutchdoor.clock import to_iso
from dutchdoor.errors import NotFound, Tampered
from dutchdoor.evidence.decision import Trust

__all__ = ["catalogue_rows", "check_copies", "evidence_rows", "sign_off_rows"]

EVIDENCE_FILES_MAX = 1_000


def sign_off_rows(
    folder: AuditFolder,
    subject: AuditSubject,
    trust: Trust,
    kinds: Sequence[DocumentKind] | None = None,
) -> list[dict[str, Any]]:
    """One row a sign-off, in the documents' order, oldest first. kinds: default, what R3 covers.

    Raises Tampered: a sign-off does not verify, or a signed version is gone or another.
    """
    if kinds is None:
        kinds = needs_of(DocumentKind.R3, folder.kinds)
    result = []
    for kind in kinds:
        for signature in folder.sign_offs(kind, subject, trust):
            copy = folder.signed_copy(kind, signature.version)
            try:
                kept = digest_of(copy)
            except NotFound:
                kept = ""
            if kept != signature.digest:
                message = f"version {signature.version} of {kind} is not what was signed"
                hint = "restore the file in history/"
                raise Tampered(message, code="history_changed", hint=hint, where=copy.name)
            result.append(
                {
                    "document": str(kind),
                    "title": SPECIFICATIONS[kind].title,
                    "version": signature.version,
                    "digest": signature.digest,
                    "signed": to_iso(signature.time_ms),
                    "by": signature.by,
                    "keys": list(signature.keys),
                    "stands_on": [
                        f"{need} {digest}" for need, digest in signature.stands_on.items()
                    ],
                    "kept": f"history/{copy.name}",
                }
            )
    return result


def check_copies(folder: AuditFolder, subject: AuditSubject, trust: Trust) -> None:
    """Raises Tampered where a signed version in history/ is gone or is not what was signed."""
    sign_off_rows(folder, subject, trust, folder.kinds)


def evidence_rows(folder: AuditFolder) -> list[dict[str, Any]]:
    """The files beside the documents that figures come from: logs and the probe's card."""
    paths = sorted(path for path in folder.logs.glob("*") if path.is_file())
    if folder.card.is_file():
        paths.append(folder.card)
    return [
        {
            "file": path.relative_to(folder.path).as_posix(),
            "digest": "sha256:" + canonical.sha256_hex(path.read_bytes()),
        }
        for path in paths[:EVIDENCE_FILES_MAX]
    ]


def catalogue_rows(catalogues: Catalogues) -> list[dict[str, Any]]:
    """The catalogues that could be cited, with their digests."""
    return [
        {"catalogue": row.name, "status": row.status, "digest": row.digest}
        for row in catalogues.all
    ]
