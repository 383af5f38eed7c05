"""Who signs next in an audit, and whether people.yaml names them, as `audit status` shows it."""

from __future__ import annotations

from collections.abc import Mapping

from dutchdoor.audit.folder import AuditFolder, missing_roles
from dutchdoor.audit.model import DocumentKind, DocumentState, Scale
from dutchdoor.audit.people import load_people
from dutchdoor.audit.roles import sign_groups
from dutchdoor.audit.service import Audit
from dutchdoor.audit.standing import is_post_audit, standings_of
from dutchdoor.evidence.decision import Trust

__all__ = ["next_signers", "signer_lines"]

_TO_SIGN = frozenset({DocumentState.OPEN, DocumentState.CHANGED, DocumentState.REOPENED})


def next_signers(audit: Audit, trust: Trust) -> dict[DocumentKind, tuple[str, ...]]:
    """The documents that may be signed now, each with the roles whose signature it lacks."""
    folder, subject = AuditFolder(audit.path), audit.subject
    half = folder.half_signed(subject, trust)
    completed = audit.summary() is not None
    found = {}
    for kind, standing in standings_of(folder, subject, trust).items():
        if standing.state not in _TO_SIGN or is_post_audit(kind) != completed:
            continue
        groups = tuple(name for name, _ in sign_groups(trust, kind, subject.scale))
        waits = kind in half and half[kind].digest == folder.digests()[kind]
        found[kind] = missing_roles(half[kind], subject, trust) if waits else groups
    return found


def signer_lines(audit: Audit, signs: Mapping[DocumentKind, tuple[str, ...]]) -> list[str]:
    """Who signs next as lines for a person; of a full audit also whether its people are named."""
    rows = (f"{kind} {' and '.join(roles)}" for kind, roles in signs.items())
    lines = [f"  signs next: {'; '.join(rows) or 'nobody'}"]
    if audit.subject.scale is Scale.FULL and load_people(audit.path) is None:
        lines.append(
            "  people.yaml is not there: any key of the role in trust.json signs; to name who: "
            "dutchdoor audit people add NAME --role ROLE --key KEY"
        )
    return lines
