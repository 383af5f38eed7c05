"""AMD SEV-SNP: a report signed by the processor, and the certificates from it to AMD's root.

The root's key comes from trust.json; ASK and VCEK travel with the report. Verified: ARK -> ASK ->
VCEK -> report, that the certificate is of the chip and of the firmware that the report names, that
nothing debugs the machine, that the report was asked for at VMPL 0 and over this request.
Source: AMD 56860, SEV Secure Nested Paging Firmware ABI, revision 1.55, table 22 (report) and its
signature; AMD 57230, VCEK certificates, 3.1 (extensions).
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from dutchdoor.errors import Invalid, Refused

__all__ = ["REPORT_BYTES", "Report", "check_report", "check_root", "check_snp_measurements"]

REPORT_BYTES = 1_184
_SIGNED_BYTES, _NUMBER_BYTES = 0x2A0, 72
_VERSIONS = range(2, 6)
_ECDSA_P384_SHA384 = 1
_DEBUG, _MIGRATION = 1 << 19, 1 << 18
_DIGITS = {"launch": 96, "chip": 128}
_OID = "1.3.6.1.4.1.3704.1."
_HARDWARE_ID = x509.ObjectIdentifier(_OID + "4")
# Place in the 8 bytes of a TCB version, and the extension of the certificate that has the same.
_TCB = {0: _OID + "3.1", 1: _OID + "3.2", 6: _OID + "3.3", 7: _OID + "3.8"}


@dataclass(frozen=True)
class Report:
    """What of a report (unverified) counts here. measurement: 48 bytes. chip: 64 bytes."""

    policy: int
    vmpl: int
    report_data: bytes
    measurement: bytes
    reported_tcb: bytes
    chip: bytes
    signature: tuple[int, int]
    signed: bytes

    @classmethod
    def decode(cls, data: bytes) -> Report:
        """Raises Invalid: of another length, version or signature algorithm."""
        if len(data) != REPORT_BYTES:
            raise _bad("it has another length")
        version, policy = struct.unpack_from("<I", data, 0)[0], struct.unpack_from("<Q", data, 8)[0]
        vmpl, algorithm = struct.unpack_from("<II", data, 0x30)
        if version not in _VERSIONS or algorithm != _ECDSA_P384_SHA384:
            raise _bad("its version or its signature is of another kind")
        start = _SIGNED_BYTES
        r = int.from_bytes(data[start : start + _NUMBER_BYTES], "little")
        s = int.from_bytes(data[start + _NUMBER_BYTES : start + 2 * _NUMBER_BYTES], "little")
        return cls(
            policy,
            vmpl,
            data[0x50:0x90],
            data[0x90:0xC0],
            data[0x180:0x188],
            data[0x1A0:0x1E0],
            (r, s),
            data[:_SIGNED_BYTES],
        )


def check_snp_measurements(measurements: Mapping[str, str]) -> None:
    """Raises Invalid: no `launch`, an unknown name, or a value of another length."""
    wrong = any(len(value) != _DIGITS.get(name, -1) for name, value in measurements.items())
    if wrong or "launch" not in measurements:
        message = "of a confidential machine launch (96 digits) and chip (128) are measured"
        raise Invalid(message, code="bad_measurements", hint="give launch, and chip if you like")


def check_root(root: bytes) -> rsa.RSAPublicKey:
    """The key of AMD's root (ARK) in DER, from trust.json. Raises Invalid: it is none."""
    try:
        key = load_der_public_key(root)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _bad_root() from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 4_096:
        raise _bad_root()
    return key


def check_report(
    root: bytes,
    *,
    report: bytes,
    vcek: bytes,
    ask: bytes,
    nonce: bytes,
    enrolled: Mapping[str, str],
) -> Report:
    """The report, by a processor that this root certifies, over exactly this nonce.

    root, enrolled: from trust.json. The rest is unverified, as the host sent it; certificates in
    DER. Dates of certificates are not looked at: what is revoked is taken from trust.json.
    Raises Invalid: malformed, or a signature that does not verify. Raises Refused: over another
    nonce, of another measurement or chip, or a machine that can be debugged.
    """
    found = Report.decode(report)
    middle, leaf = _certificate(ask), _certificate(vcek)
    _check_issued(middle, check_root(root))
    middle_key = middle.public_key()
    if not isinstance(middle_key, rsa.RSAPublicKey):
        raise _not_signed()
    _check_issued(leaf, middle_key)
    _check_signed(found, leaf)
    _check_same_chip(found, leaf)
    if not hmac.compare_digest(found.report_data, nonce.ljust(64, b"\0")):
        message = "the report was made for another request"
        hint = "let the host make a new request and a new report"
        raise Refused(message, code="evidence_replayed", hint=hint)
    if found.policy & (_DEBUG | _MIGRATION) or found.vmpl != 0:
        message = "the machine may be debugged or moved, or less than its firmware asked"
        raise Refused(message, code="host_not_as_enrolled", hint="start it with a stricter policy")
    shown = {"launch": found.measurement.hex(), "chip": found.chip.hex()}
    differ = sorted(name for name, value in enrolled.items() if shown.get(name) != value)
    if differ or "launch" not in enrolled:
        message = f"the machine is another than was enrolled: {', '.join(differ)}"
        hint = "find out what changed; if it was meant, the holder enrols the machine again"
        raise Refused(message, code="host_not_as_enrolled", hint=hint)
    return found


def _check_issued(certificate: x509.Certificate, issuer: rsa.RSAPublicKey) -> None:
    """RSA-PSS with SHA-384, as AMD signs; nothing else is believed."""
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), padding.PSS.AUTO)
    try:
        data = certificate.tbs_certificate_bytes
        issuer.verify(certificate.signature, data, pss, hashes.SHA384())
    except (InvalidSignature, ValueError) as error:
        raise _not_signed() from error


def _check_signed(report: Report, leaf: x509.Certificate) -> None:
    try:
        key = leaf.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp384r1":
            raise _not_signed()
        key.verify(
            encode_dss_signature(*report.signature), report.signed, ec.ECDSA(hashes.SHA384())
        )
    except (InvalidSignature, ValueError, UnsupportedAlgorithm) as error:
        raise _not_signed() from error


def _check_same_chip(report: Report, leaf: x509.Certificate) -> None:
    """The certificate is of the chip and the firmware that the report says it comes from."""
    chip = _extension(leaf, _HARDWARE_ID)
    versions = {
        place: _extension(leaf, x509.ObjectIdentifier(name)) for place, name in _TCB.items()
    }
    # Each version is a DER INTEGER of one byte, or of two with a leading zero.
    same = all(_integer(value) == report.reported_tcb[place] for place, value in versions.items())
    if not hmac.compare_digest(chip, report.chip) or not same:
        message = "the certificate is of another chip or another firmware than the report"
        hint = "let the host fetch the certificate of its processor again"
        raise Invalid(message, code="evidence_not_signed", hint=hint)


def _extension(leaf: x509.Certificate, name: x509.ObjectIdentifier) -> bytes:
    try:
        value = leaf.extensions.get_extension_for_oid(name).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise _not_signed() from error
    if not isinstance(value, x509.UnrecognizedExtension):
        raise _not_signed()
    return value.value


def _integer(der: bytes) -> int:
    if len(der) < 3 or der[0] != 2 or der[1] != len(der) - 2:
        return -1
    return int.from_bytes(der[2:], "big", signed=True)


def _certificate(data: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _not_signed() from error


def _not_signed() -> Invalid:
    message = "the report is not signed by a processor that the enrolled root certifies"
    hint = "let the host make its evidence again; check which root was enrolled"
    return Invalid(message, code="evidence_not_signed", hint=hint)


def _bad(reason: str) -> Invalid:
    hint = "let the host make its evidence again"
    return Invalid(f"not a report of SEV-SNP: {reason}", code="bad_report", hint=hint)


def _bad_root() -> Invalid:
    hint = "enrol with the public key (DER) of AMD's root for this kind of processor"
    return Invalid("not the key of AMD's root", code="bad_host_key", hint=hint)
