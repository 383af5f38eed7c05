"""Signs one document: once, or by two roles over the same statement."""

from __future__ import annotations

from dataclasses import dataclass

from dutchdoor.audit.folder import DOCUMENT_STATEMENT, AuditFolder, AuditSubject, missing_roles
from dutchdoor.audit.graph import needs_of
from dutchdoor.audit.model import DocumentKind, Scale, Signature
from dutchdoor.audit.roles import must_be_separate, must_be_trusted, sign_groups
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

    def sign_first(self, kind: DocumentKind, signer: Signer, now_ms: int) -> None:
        """The next version's sign-off, and a copy of the document as it is signed.

        Raises Refused: somebody acts in two roles, or signed before in another.
        """
        self._must_keep_apart(kind, signer)
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
            "time_ms": now_ms,
        }
        self.folder.add_signature(kind, sign_statement(DOCUMENT_STATEMENT, body, [signer]))

    def sign_second(self, kind: DocumentKind, signer: Signer) -> bool:
        """Put the missing role's signature on the statement that the first role signed.

        False where there is none of the document as it is now: then it is signed anew.
        Raises Refused: the signer does not act in the role that is missing.
        """
        half = self.folder.half_signed(self.subject, self.trust).get(kind)
        if half is None or not self._is_current(half):
            return False
        missing = missing_roles(half, self.subject, self.trust)
        groups = sign_groups(self.trust, kind, self.subject.scale)
        must_be_trusted(
            signer, {k: v for name, keys in groups if name in missing for k, v in keys.items()}
        )
        self._must_keep_apart(kind, signer)
        envelope = add_signature(self.folder.sign_off(kind, half.version), signer)
        self.folder.complete_signature(kind, half.version, envelope)
        return True

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


def _role(trust: Trust, public_key: bytes) -> str:
    keys = {"auditor": trust.auditors, "holder": trust.holder, "approver": trust.approvers}
    return next((name for name, role in keys.items() if public_key in role.values()), "nobody")


def _role_of_key(trust: Trust, key: str) -> str:
    keys = {"auditor": trust.auditors, "holder": trust.holder, "approver": trust.approvers}
    return next((name for name, role in keys.items() if key in role), "nobody")
