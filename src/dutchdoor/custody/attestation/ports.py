"""What custody needs of attestation: somebody who verifies, and on the host somebody who shows."""

from __future__ import annotations

from typing import Protocol

from dutchdoor.custody.attestation.model import Attested
from dutchdoor.custody.messages import OpenRequest

__all__ = ["HostEvidenceMaker", "HostVerifier"]


class HostVerifier(Protocol):
    """A custodian's own check of the host that asks."""

    def verify(self, evidence: bytes, request: OpenRequest) -> Attested:
        """What `evidence` (unverified bytes) shows of the host that made exactly `request`.

        Raises Refused: another host, request, bundle or measurement than is trusted.
        Raises Invalid: malformed, or a signature that does not verify.
        """
        ...


class HostEvidenceMaker(Protocol):
    """On the host itself: asks its TPM or its processor."""

    def show(self, request: OpenRequest) -> bytes:
        """Evidence over the digest of `request`.

        Raises Unavailable: there is nothing here to ask, or it does not answer.
        Raises NotFound: this host is not enrolled.
        """
        ...
