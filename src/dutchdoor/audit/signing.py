"""Signs one document: once, or by two roles over the same statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dutchdoor.audit.folder import (
    DOCUMENT_STATEMENT,
    SECOND_STATEMENT,
    AuditFolder,
    AuditSubject,
    missing_roles,
)
from dutchdoor.audit.graph import needs_of
from dutchdoor.audit.model import DocumentKind, Scale, Signature
from dutchdoor.audit.people import AUDITING, Member, Role, load_people, missing, must_be_apart
from dutchdoor.audit.ports import Leases
from dutchdoor.audit.roles import must_be_separate, sign_groups
from dutchdoor.errors import Refused
from dutchdoor.evidence.decision import Trust
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.statement import add_signature, key_id, sign_statement

__all__ = ["Signing"]


@dataclass(frozen=True)
class Signing:
    """The sign-offs of one audit."""

    folder: AuditFolder
    subject: AuditSubject
    trust: Trust
    leases: Leases | None = None

    def sign_first(self, kind: DocumentKind, signer: Signer, now_ms: int) -> None:
        """The next version's sign-off, and a copy of the document as it is signed.

        Raises Refused: somebody acts in two roles, or signed before in another; or they are not
        among the audit's people, or their lease ended. Raises NotFound: `people.yaml` is gone.
        """
        self._must_keep_apart(kind, signer)
        roles = tuple(name for name, _ in sign_groups(self.trust, kind, self.subject.scale))
        person, people = self.must_be_in_role(roles, signer)
        digests = self.folder.digests()
        needs = needs_of(kind, self.folder.kinds)
        body = {
            "audit": self.subject.audit,
            "bundle": self.subject.bundle,
            "scale": str(self.subject.scale),
            "document": str(kind),
            "version": self.folder.next_version(kind),
            "digest": digests[kind],
            "stands_on": [{"kind": str(need), "digest": digests[need]} for need in needs],
            "signer": signer.name,
            "key": key_id(signer.public_key),
            "person": person,
            "people": people,
            "time_ms": now_ms,
        }
        self.folder.add_signature(kind, sign_statement(DOCUMENT_STATEMENT, body, [signer]))

    def sign_second(self, kind: DocumentKind, signer: Signer, now_ms: int) -> bool:
        """Put the missing role's signature on the statement that the first role signed.

        False where there is none of the document as it is now: then it is signed anew. Who signs
        second says their name in a statement of their own, which names the first's.
        Raises Refused: the signer does not act in the role that is missing. Raises as `sign_first`.
        """
        half = self.folder.half_signed(self.subject, self.trust).get(kind)
        if half is None or not self._is_current(half):
            return False
        missing = missing_roles(half, self.subject, self.trust)
        groups = sign_groups(self.trust, kind, self.subject.scale)
        keys = {k: v for name, group in groups if name in missing for k, v in group.items()}
        _must_be_next(kind, half, missing, keys, signer)
        self._must_keep_apart(kind, signer)
        person, people = self.must_be_in_role(missing, signer)
        body = {
            "audit": self.subject.audit,
            "document": str(kind),
            "version": half.version,
            "digest": half.digest,
            "first_key": half.key,
            "signer": signer.name,
            "key": key_id(signer.public_key),
            "person": person,
            "people": people,
            "time_ms": now_ms,
        }
        envelope = add_signature(self.folder.sign_off(kind, half.version), signer)
        # Who it was before that it was: a second signature without a name is never left behind.
        second = sign_statement(SECOND_STATEMENT, body, [signer])
        self.folder.name_second(kind, half.version, second)
        self.folder.complete_signature(kind, half.version, envelope)
        return True

    def must_be_in_role(self, roles: tuple[str, ...], signer: Signer) -> tuple[str, str]:
        """The signer's name in `people.yaml` and the file's digest; both "" where there is none.

        roles: the groups of `sign_groups` in one of which they sign.
        """
        people = load_people(self.folder.path)
        if people is None:
            if self.folder.people_were_named(self.subject, self.trust):
                raise missing()
            return "", ""
        must_be_apart(people, self.folder.people_elsewhere(self.subject))
        member = people.of_key(key_id(signer.public_key))
        fits = member is not None and any(member.roles & _ROLES.get(name, set()) for name in roles)
        if member is None or not fits:
            message = f"{signer.name} is not in people.yaml in the role of {' or '.join(roles)}"
            hint = "dutchdoor audit people add NAME --role ROLE --key KEY"
            raise Refused(message, code="not_in_role", hint=hint)
        self._must_hold_lease(member)
        return member.name, people.digest

    def _must_hold_lease(self, member: Member) -> None:
        if Role.EXTERNAL_AUDITOR not in member.roles:
            return
        why: str | None = "nobody here can say whether it holds"
        if self.leases is not None:
            why = self.leases.refusal(member.grant, member.person, self.subject.bundle)
        if why is not None:
            message = f"{member.name} audits from outside, and the lease {member.grant}: {why}"
            hint = (
                "the holder gives another: dutchdoor grants make NAME --purpose audit --depth audit"
            )
            raise Refused(message, code="lease_ended", hint=hint)

    def _is_current(self, half: Signature) -> bool:
        digests = self.folder.digests()
        needs = needs_of(half.kind, self.folder.kinds)
        on = {need: digests[need] for need in needs}
        return (half.digest, dict(half.stands_on)) == (digests[half.kind], on)

    def _must_keep_apart(self, kind: DocumentKind, signer: Signer) -> None:
        """Nobody signs for two sides, neither with one key nor under one name.

        A name proves nothing, so this finds the careless and not the dishonest.
        """
        if self.subject.scale is not Scale.FULL:
            return
        must_be_separate(self.trust)
        role = _role(self.trust, signer.public_key)
        for other in self.folder.kinds:
            for signature in self.folder.sign_offs(other, self.subject, self.trust):
                first = _role_of_key(self.trust, signature.key)
                if signature.signer.casefold() == signer.name.casefold() and first != role:
                    message = f"{signer.name} signed {other} as {first} and cannot sign as {role}"
                    hint = "another person signs"
                    raise Refused(message, code="duties_not_separate", hint=hint)


def _must_be_next(
    kind: DocumentKind,
    half: Signature,
    missing: tuple[str, ...],
    keys: Mapping[str, bytes],
    signer: Signer,
) -> None:
    """Raises Refused, saying who signs next, where it is not this signer."""
    key = key_id(signer.public_key)
    if keys.get(key) == signer.public_key:
        return
    names = " and ".join(missing)
    hint = f"{names} signs {kind} next: dutchdoor audit sign {kind} --as NAME"
    if key in half.keys:
        message = f"{signer.name} has signed {kind} already; {names} signs next"
        raise Refused(message, code="already_signed", hint=hint)
    message = f"{signer.name} may not sign {kind} now; {names} signs next"
    raise Refused(message, code="signer_unknown", hint=hint)


_ROLES: dict[str, set[Role]] = {
    "an auditor": set(AUDITING),
    "the holder": {Role.MAKER},
    "an approver": {Role.DECIDER},
    "anybody": set(Role),
}
"""Who in `people.yaml` signs in which group of `sign_groups`; an unknown group has nobody."""


def _role(trust: Trust, public_key: bytes) -> str:
    keys = {"auditor": trust.auditors, "holder": trust.holder, "approver": trust.approvers}
    return next((name for name, role in keys.items() if public_key in role.values()), "nobody")


def _role_of_key(trust: Trust, key: str) -> str:
    keys = {"auditor": trust.auditors, "holder": trust.holder, "approver": trust.approvers}
    return next((name for name, role in keys.items() if key in role), "nobody")
