"""The verifier of a custodian: hosts as the holder enrolled them, and no others."""

from __future__ import annotations

from collections.abc import Mapping

from dutchdoor.custody.attestation.evidence import HostEvidence
from dutchdoor.custody.attestation.model import Attested, Grade
from dutchdoor.custody.attestation.snp import check_report, check_root, check_snp_measurements
from dutchdoor.custody.attestation.tpm import check_key, check_quote, check_registers
from dutchdoor.custody.messages import OpenRequest
from dutchdoor.errors import Invalid, Refused
from dutchdoor.evidence.hosts import Host

__all__ = ["EnrolledHosts", "check_host", "request_nonce"]

_PARTS = {"tpm": {"quote", "signature"}, "snp": {"report", "vcek", "ask"}}
_GRADES = {"tpm": Grade.TPM, "snp": Grade.TEE}


def request_nonce(request: OpenRequest) -> bytes:
    """What evidence is made over: the 32 bytes of the request's digest.

    The request holds the key that shares are sealed to, so evidence binds that key to the host.
    """
    return bytes.fromhex(request.digest.removeprefix("sha256:"))


def check_host(host: Host) -> None:
    """`host` is one whose evidence could be believed. Raises Invalid: its key, what is measured."""
    if host.kind == "tpm":
        check_key(host.public)
        check_registers(host.measurements)
    else:
        check_root(host.public)
        check_snp_measurements(host.measurements)


class EnrolledHosts:
    """Implements `HostVerifier` over the hosts of trust.json."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        """hosts: by id, trusted."""
        self._hosts = hosts

    def verify(self, evidence: bytes, request: OpenRequest) -> Attested:
        """What `evidence` (unverified bytes) shows of the host that made exactly `request`.

        Raises Refused: a host that is not enrolled or not for this bundle, evidence over another
        request, or of another state. Raises Invalid: malformed, or not signed by its key.
        """
        shown = HostEvidence.decode(evidence)
        host = self._hosts.get(shown.host)
        if host is None:
            message = f"the host {shown.host!a} is not enrolled"
            hint = "the holder enrols it: dutchdoor custody enrol-host"
            raise Refused(message, code="unknown_host", hint=hint)
        if host.bundles and request.bundle not in host.bundles:
            message = f"the host {host.name} was not enrolled for this bundle"
            hint = "open the bundle on a host that was, or let the holder enrol this one for it"
            raise Refused(message, code="unknown_host", hint=hint)
        if shown.request != request.digest:
            message = "the evidence was made for another request"
            hint = "let the host make a new request and new evidence"
            raise Refused(message, code="evidence_replayed", hint=hint)
        if set(shown.parts) != _PARTS[host.kind]:
            message = "the evidence has other parts than such a host sends"
            hint = "let the host make it again, with the same version of this program"
            raise Invalid(message, code="bad_evidence", hint=hint)
        nonce = request_nonce(request)
        if host.kind == "tpm":
            check_quote(
                host.public,
                quoted=shown.part("quote"),
                signature=shown.part("signature"),
                nonce=nonce,
                enrolled=host.measurements,
                shown=shown.measured,
            )
        else:
            check_report(
                host.public,
                report=shown.part("report"),
                vcek=shown.part("vcek"),
                ask=shown.part("ask"),
                nonce=nonce,
                enrolled=host.measurements,
            )
        return Attested(_GRADES[host.kind], host.id, shown.digest)
