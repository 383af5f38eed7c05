"""A revocation: signed by one approver or the holder, and what its entry says."""

from __future__ import annotations

import base64
from typing import Any

from dutchdoor.errors import Invalid, Refused
from dutchdoor.evidence.decision import REVOCATION_KIND, Revocation, Trust, open_revocation
from dutchdoor.evidence.ports import Signer
from dutchdoor.evidence.statement import sign_statement

__all__ = ["sign_revocation"]


def sign_revocation(
    decision: str, bundle: str, reason: str, signer: Signer, trust: Trust
) -> tuple[Revocation, dict[str, Any]]:
    """The revocation and the body of its entry; nothing is recorded.

    Raises Refused: the signer may not revoke.
    """
    body = {"decision": decision, "bundle": bundle, "reason": reason}
    envelope = sign_statement(REVOCATION_KIND, dict(body), [signer])
    try:
        revocation = open_revocation(envelope, trust)
    except Invalid as error:
        message = f"the key of {signer.name} may not revoke"
        hint = "an approver or the holder revokes"
        raise Refused(message, code="not_an_approver", hint=hint) from error
    return revocation, {**body, "envelope": base64.b64encode(envelope).decode()}
