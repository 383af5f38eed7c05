"""Who may sign which document, and that no one person answers for both sides.

| written by | signed by, at scale full |
|---|---|
| auditor | an auditor |
| product and engineering | the holder |
| auditor and product together | an auditor and the holder |
| organisation | an approver |

P2 is kept by the product's people and verified by an auditor: both sign. At scale short, auditors
sign what auditors write and anybody in trust.json the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from dutchdoor.audit.model import SPECIFICATIONS, DocumentKind, Producer, Scale
from dutchdoor.errors import Refused
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.statement import key_id

__all__ = ["audit_keys", "document_keys", "must_be_separate", "must_be_trusted", "sign_groups"]

Group = tuple[str, Mapping[str, bytes]]
"""A role's name, and the public keys by key id that act in it."""


def audit_keys(trust: Trust) -> dict[str, bytes]:
    """Whose signature makes a summary: the auditors'; without any, the holder's and approvers'."""
    return dict(trust.auditors) or {**trust.holder, **trust.approvers}


def sign_groups(trust: Trust, kind: DocumentKind, scale: Scale) -> tuple[Group, ...]:
    """The roles that sign the document; one key of each must."""
    producer = SPECIFICATIONS[kind].producer
    if scale is Scale.SHORT:
        if producer is Producer.AUDITOR:
            return (("an auditor", audit_keys(trust)),)
        return (("anybody", {**trust.holder, **trust.approvers, **trust.auditors}),)
    auditor: Group = ("an auditor", trust.auditors)
    holder: Group = ("the holder", trust.holder)
    if kind is DocumentKind.P2 or producer is Producer.JOINT:
        return (auditor, holder)
    if producer is Producer.ORGANISATION:
        return (("an approver", trust.approvers),)
    return (auditor if producer is Producer.AUDITOR else holder,)


def document_keys(trust: Trust, kind: DocumentKind, scale: Scale = Scale.SHORT) -> dict[str, bytes]:
    """All keys that may sign the document, whichever role they act in."""
    keys: dict[str, bytes] = {}
    for _, group in sign_groups(trust, kind, scale):
        keys.update(group)
    return keys


def must_be_separate(trust: Trust) -> None:
    """Raises Refused unless auditors, holder and approvers are there and share no key."""
    roles = (trust.auditors, trust.holder, trust.approvers)
    if not all(roles):
        message = "a full audit needs auditors, a holder and approvers in trust.json"
        raise Refused(message, code="duties_not_separate", hint="name them, each with a key")
    # By the bytes of the keys: a key under a second name is still one person.
    count = sum(len(set(role.values())) for role in roles)
    if len({key for role in roles for key in role.values()}) != count:
        message = "somebody acts in two roles: auditor, holder or approver"
        hint = "give each role a key of its own; nobody audits what they approve"
        raise Refused(message, code="duties_not_separate", hint=hint)


def must_be_trusted(signer: Signer, keys: Mapping[str, bytes]) -> None:
    """Raises Refused unless the signer's key is among `keys`."""
    if keys.get(key_id(signer.public_key)) != signer.public_key:
        message = f"{signer.name} may not sign this: the key is not among the trusted ones for it"
        hint = "auditors sign what auditors write; trust.json says who they are"
        raise Refused(message, code="signer_unknown", hint=hint)
