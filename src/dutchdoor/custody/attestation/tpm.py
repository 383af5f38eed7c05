"""TPM 2.0: is this key one that can be believed, and is this quote by it, over this, of that?

Pure Python with `cryptography`: a custodian needs no TPM and no tool of one.
Source: TCG, TPM 2.0 Library, part 1, 31 (restricted keys), 18.4 (quotes); RFC 8017; SEC 1.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from dutchdoor.custody.attestation.tpm_wire import (
    PublicArea,
    Quote,
    Signature,
    read_public,
    read_quote,
    read_signature,
)
from dutchdoor.errors import Invalid, Refused

__all__ = ["PCR_MAX", "check_key", "check_quote", "check_registers"]

PCR_MAX = 23
_FIXED_TPM, _FIXED_PARENT, _MADE_INSIDE = 1 << 1, 1 << 4, 1 << 5
_RESTRICTED, _DECRYPT, _SIGN = 1 << 16, 1 << 17, 1 << 18
_NEEDED = _FIXED_TPM | _FIXED_PARENT | _MADE_INSIDE | _RESTRICTED | _SIGN
_RSA_BITS = (2_048, 3_072, 4_096)
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_CURVES: dict[str, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}
_BANK_DIGITS = {"sha256": 64, "sha384": 96}


def check_key(public: bytes) -> None:
    """`public` (a TPMT_PUBLIC, unverified) is of a key whose signed quotes can be believed.

    Raises Invalid: it would also sign what others made up, could leave its TPM, or is none.
    """
    area = read_public(public)
    _key(area)
    if area.attributes & _NEEDED != _NEEDED or area.attributes & _DECRYPT:
        message = "the key signs also what the TPM did not make, or is not fixed to its TPM"
        hint = "a host's key is a restricted one: make it with 'dutchdoor custody host-key'"
        raise Invalid(message, code="bad_host_key", hint=hint)


def check_registers(measurements: Mapping[str, str]) -> dict[str, dict[int, str]]:
    """The registers by bank and number, of names such as `sha256:7`.

    Raises Invalid: none, a name of another form, or a value of another length.
    """
    found: dict[str, dict[int, str]] = {}
    for name, value in measurements.items():
        bank, _, number = name.partition(":")
        digits = _BANK_DIGITS.get(bank, -1)
        right_number = number.isdecimal() and number == str(int(number[:4]))
        if not right_number or int(number) > PCR_MAX or len(value) != digits:
            raise _bad_registers()
        if set(value) - set("0123456789abcdef"):
            raise _bad_registers()
        found.setdefault(bank, {})[int(number)] = value
    if not found:
        raise _bad_registers()
    return found


def check_quote(
    public: bytes,
    *,
    quoted: bytes,
    signature: bytes,
    nonce: bytes,
    enrolled: Mapping[str, str],
    shown: Mapping[str, str],
) -> Quote:
    """The quote, by exactly this key, over exactly this nonce, of exactly these registers.

    public, enrolled: from trust.json. quoted, signature, shown: unverified, as the host sent them;
    shown: its registers, which tell in a refusal which one differs.
    Raises Invalid: malformed, or the signature is not by this key. Raises Refused: over another
    nonce, of other registers, or with other values.
    """
    area, quote = read_public(public), read_quote(quoted)
    check_key(public)
    _check_signature(area, read_signature(signature), quoted)
    if not hmac.compare_digest(quote.extra, nonce):
        message = "the quote was made for another request"
        hint = "quotes are not kept: let the host make a new request and a new quote"
        raise Refused(message, code="evidence_replayed", hint=hint)
    wanted = check_registers(enrolled)
    _check_values(quote, wanted, area.hash, shown)
    if dict(shown) != dict(enrolled):
        # Nothing rests on it, but what goes into the log as evidence holds no false word.
        message = "the host says something else of its registers than its TPM signed"
        hint = "let the host make its evidence again"
        raise Invalid(message, code="bad_evidence", hint=hint)
    return quote


def _check_values(
    quote: Quote, wanted: Mapping[str, Mapping[int, str]], name: str, shown: Mapping[str, str]
) -> None:
    selected = {bank: registers for bank, registers in quote.pcrs if registers}
    asked = {bank: tuple(sorted(rows)) for bank, rows in wanted.items()}
    twice = len(selected) != sum(1 for _, registers in quote.pcrs if registers)
    if selected != asked or twice:
        message = "the quote covers other registers than were enrolled"
        hint = "enrol the host again with the registers it is to be judged by"
        raise Refused(message, code="host_not_as_enrolled", hint=hint)
    # In the order in which the quote names the banks, each ascending: so the TPM hashed them.
    values = [wanted[bank][number] for bank, registers in quote.pcrs for number in registers]
    found = hashlib.new(name, bytes.fromhex("".join(values))).digest()
    if not hmac.compare_digest(found, quote.pcr_digest):
        differ = sorted(
            f"{bank}:{number}"
            for bank, rows in wanted.items()
            for number, value in rows.items()
            if shown.get(f"{bank}:{number}") != value
        )
        told = f"; the host says of itself that {', '.join(differ)} differ" if differ else ""
        message = f"the host booted something else than was enrolled{told}"
        hint = "find out what changed; if it was meant, the holder enrols the host again"
        raise Refused(message, code="host_not_as_enrolled", hint=hint)


def _check_signature(area: PublicArea, signature: Signature, data: bytes) -> None:
    if (signature.scheme, signature.hash) != (area.scheme, area.hash):
        raise _wrong_signature()
    key, name = _key(area), _HASHES[signature.hash]
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            r, s = (int.from_bytes(value, "big") for value in signature.values)
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(name))
            return
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if signature.scheme == "rsapss":
            scheme = padding.PSS(padding.MGF1(name), padding.PSS.AUTO)
        key.verify(signature.values[0], data, scheme, name)
    except (InvalidSignature, ValueError) as error:
        raise _wrong_signature() from error


def _key(area: PublicArea) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    numbers = [int.from_bytes(value, "big") for value in area.values]
    try:
        if area.kind == "ecc":
            curve = _CURVES[area.curve]
            return ec.EllipticCurvePublicNumbers(numbers[0], numbers[1], curve).public_key()
        key = rsa.RSAPublicNumbers(area.exponent, numbers[0]).public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key() from error
    if key.key_size not in _RSA_BITS:
        raise _no_key()
    return key


def _no_key() -> Invalid:
    hint = "make the host's key with 'dutchdoor custody host-key'"
    return Invalid("not a TPM's key, or a short one", code="bad_host_key", hint=hint)


def _wrong_signature() -> Invalid:
    message = "the quote is not signed by the key that was enrolled"
    hint = "let the host make its evidence again; if its TPM was replaced, enrol it anew"
    return Invalid(message, code="evidence_not_signed", hint=hint)


def _bad_registers() -> Invalid:
    message = "registers are named as sha256:7, with 64 lower-case hexadecimal digits"
    hint = f"of the banks sha256 and sha384, 0 to {PCR_MAX}, at least one"
    return Invalid(message, code="bad_measurements", hint=hint)
