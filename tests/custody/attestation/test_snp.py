"""A report of a confidential machine is believed up to the enrolled root, and no further.

The chain is our own, made as AMD's are (RSA-4096 PSS above, P-384 below, the same extensions): no
recorded report of a real processor is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from dutchdoor.custody.attestation.evidence import HostEvidence
from dutchdoor.custody.attestation.model import Grade
from dutchdoor.custody.attestation.snp import REPORT_BYTES, Report
from dutchdoor.custody.attestation.verify import EnrolledHosts, check_host, request_nonce
from dutchdoor.errors import DutchdoorError, Invalid
from dutchdoor.evidence.hosts import Host
from tests.custody.attestation.record import new_request

CHIP, LAUNCH = bytes(range(64)), b"\x2a" * 48
TCB = {0: 3, 1: 0, 6: 20, 7: 209}
PSS = padding.PSS(padding.MGF1(hashes.SHA384()), padding.PSS.DIGEST_LENGTH)
DAY = datetime(2026, 1, 1, tzinfo=UTC)
OID = "1.3.6.1.4.1.3704.1."
NAMES = {0: "3.1", 1: "3.2", 6: "3.3", 7: "3.8"}


def integer(value: int) -> bytes:
    data = value.to_bytes(1 + (value > 127), "big")
    return bytes([2, len(data)]) + data


@dataclass(frozen=True)
class Chain:
    """Keys and certificates of one kind of processor, and of one processor."""

    root: rsa.RSAPrivateKey
    ask: x509.Certificate
    vcek: x509.Certificate
    chip_key: ec.EllipticCurvePrivateKey

    @property
    def public(self) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.root.public_key().public_bytes(serialization.Encoding.DER, form)


def certificate(
    name: str,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    signer: rsa.RSAPrivateKey,
    chip: bytes = b"",
) -> x509.Certificate:
    def called(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = x509.CertificateBuilder().issuer_name(called("issuer")).subject_name(called(name))
    builder = builder.public_key(key).serial_number(1).not_valid_before(DAY)
    builder = builder.not_valid_after(datetime(2051, 1, 1, tzinfo=UTC))
    if chip:
        rows = {"4": chip, **{NAMES[place]: integer(value) for place, value in TCB.items()}}
        for last, value in rows.items():
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(OID + last), value)
            builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer, hashes.SHA384(), rsa_padding=PSS)


@cache
def chain(number: int = 0) -> Chain:
    bits = 2048 if number else 4096
    root, middle = rsa.generate_private_key(65537, bits), rsa.generate_private_key(65537, 2048)
    chip_key = ec.generate_private_key(ec.SECP384R1())
    ask = certificate("ask", middle.public_key(), root)
    return Chain(root, ask, certificate("vcek", chip_key.public_key(), middle, CHIP), chip_key)


def report(nonce: bytes, found: Chain, **changes: tuple[int, bytes]) -> bytes:
    data = bytearray(REPORT_BYTES)
    data[0:4], data[8:16] = (2).to_bytes(4, "little"), (0x30000).to_bytes(8, "little")
    data[0x34:0x38] = (1).to_bytes(4, "little")
    data[0x50:0x70], data[0x90:0xC0], data[0x1A0:0x1E0] = nonce, LAUNCH, CHIP
    for place, value in TCB.items():
        data[0x180 + place] = value
    for place, piece in changes.values():
        data[place : place + len(piece)] = piece
    signature = found.chip_key.sign(bytes(data[:0x2A0]), ec.ECDSA(hashes.SHA384()))
    for number, value in enumerate(decode_dss_signature(signature)):
        start = 0x2A0 + 72 * number
        data[start : start + 72] = value.to_bytes(72, "little")
    return bytes(data)


MACHINE = {"launch": LAUNCH.hex(), "chip": CHIP.hex()}
REQUEST = new_request()


def verify(
    data: bytes, found: Chain | None = None, host: Host | None = None, **parts: bytes
) -> str:
    """The grade, or the code of what is refused."""
    found = found or chain()
    host = host or Host("snp", "machine", chain().public, MACHINE)
    der = serialization.Encoding.DER
    given = {
        "report": data,
        "vcek": found.vcek.public_bytes(der),
        "ask": found.ask.public_bytes(der),
        **parts,
    }
    evidence = HostEvidence(host.id, REQUEST.digest, {}, given).encode()
    try:
        check_host(host)
        return EnrolledHosts({host.id: host}).verify(evidence, REQUEST).grade
    except DutchdoorError as error:
        return error.code


def good(**changes: tuple[int, bytes]) -> bytes:
    return report(request_nonce(REQUEST), chain(), **changes)


def test_a_report_up_to_the_enrolled_root_gives_the_highest_grade() -> None:
    assert verify(good()) == Grade.TEE


@pytest.mark.parametrize("place", [0, 8, 0x50, 0x90, 0x180, 0x1A0, 0x29F, 0x2A0, 0x2E8])
def test_one_changed_byte_is_refused(place: int) -> None:
    data = bytearray(good())
    data[place] ^= 1
    assert verify(bytes(data)) in {"evidence_not_signed", "bad_report"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ((0x90, b"\x2b"), "host_not_as_enrolled"),
        ((8, (0x30000 | 1 << 19).to_bytes(8, "little")), "host_not_as_enrolled"),
        ((8, (0x30000 | 1 << 18).to_bytes(8, "little")), "host_not_as_enrolled"),
        ((0x30, b"\x01"), "host_not_as_enrolled"),
        ((0x50, b"\0" * 32), "evidence_replayed"),
        ((0x70, b"\x01"), "evidence_replayed"),
        ((0x1A0, b"\xff"), "evidence_not_signed"),
        ((0x180, b"\x09"), "evidence_not_signed"),
        ((0, b"\x09"), "bad_report"),
        ((0x34, b"\x02"), "bad_report"),
    ],
)
def test_what_the_processor_signed_must_be_what_was_enrolled(
    change: tuple[int, bytes], code: str
) -> None:
    assert verify(good(change=change)) == code


def test_another_root_or_a_chain_that_breaks_is_refused() -> None:
    der = serialization.Encoding.DER
    other = chain(1)
    data = report(request_nonce(REQUEST), other)
    assert verify(data, other) == "evidence_not_signed", "its own chain, another root"
    assert verify(data, vcek=other.vcek.public_bytes(der)) == "evidence_not_signed"
    assert verify(good(), ask=b"") == "evidence_not_signed"
    assert verify(good(), vcek=chain().ask.public_bytes(der)) == "evidence_not_signed"


def test_a_report_cut_short_is_refused() -> None:
    data = good()
    assert {verify(data[:-1]), verify(data + b"\0"), verify(b"")} == {"bad_report"}


def test_another_chip_of_the_same_kind_opens_nothing_that_names_its_chip() -> None:
    any_chip = Host("snp", "machine", chain().public, {"launch": LAUNCH.hex()})
    assert verify(good(), host=any_chip) == Grade.TEE
    named = replace(any_chip, measurements={**MACHINE, "chip": "ff" * 64})
    assert verify(good(), host=named) == "host_not_as_enrolled"


def test_a_host_without_a_launch_measurement_is_never_enrolled() -> None:
    lax = Host("snp", "machine", chain().public, {"chip": CHIP.hex()})
    assert verify(good(), host=lax) == "bad_measurements"
    weak = rsa.generate_private_key(65537, 2048).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = weak.public_bytes(serialization.Encoding.DER, form)
    assert verify(good(), host=Host("snp", "machine", public, MACHINE)) == "bad_host_key"


def test_a_report_of_another_length_is_our_own_error() -> None:
    with pytest.raises(Invalid):
        Report.decode(b"\0" * 100)
