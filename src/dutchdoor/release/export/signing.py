"""OpenSSF model signing v1.0, with a key: `model.sig`.

A Sigstore bundle around a DSSE envelope around an in-toto statement that lists every file with its
SHA-256. Written by hand: the tool's own library brings a client of Sigstore's services along, and
this program talks to nobody. A test has the tool verify what is written here.
Source: the OpenSSF Model Signing specification v1.0; in-toto Statement v1; DSSE v1.0.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dutchdoor.errors import Invalid, Tampered

__all__ = ["SIGNATURE_NAME", "PackageKey", "SignedFiles", "open_signature", "public_key_of"]

SIGNATURE_NAME = "model.sig"
SIGNATURE_BYTES_MAX = 4 << 20
FILES_MAX = 10_000
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_SERIALIZATION = {
    "method": "files",
    "hash_type": "sha256",
    "allow_symlinks": False,
    "ignore_paths": [SIGNATURE_NAME],
}


@dataclass(frozen=True)
class SignedFiles:
    """What a verified signature covers. files: SHA-256 in hexadecimal by path."""

    name: str
    files: Mapping[str, str]


class PackageKey:
    """The ECDSA P-256 key that signs packages: the format knows no Ed25519."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private

    @classmethod
    def generate(cls) -> PackageKey:
        """A new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_pem(cls, data: bytes) -> PackageKey:
        """The key of `data`, PKCS #8 in PEM. Raises Invalid: not such a key."""
        try:
            private = serialization.load_pem_private_key(data, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Invalid("not a key for packages", code="bad_package_key") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise Invalid("not a key for packages", code="bad_package_key")
        _check_curve(private.public_key())
        return cls(private)

    def to_pem(self) -> bytes:
        """The private key, PKCS #8 in PEM: for a file that only its owner reads."""
        return self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def public_pem(self) -> bytes:
        """The public key, in PEM: what `model_signing verify key` takes."""
        return _pem(self._private.public_key())

    @property
    def fingerprint(self) -> str:
        """`sha256:` of the public key's PEM, as the signature's own hint has it."""
        return "sha256:" + hashlib.sha256(self.public_pem).hexdigest()

    def sign(self, signed: SignedFiles) -> bytes:
        """The bytes of `model.sig` over `signed`."""
        payload = json.dumps(_statement(signed), sort_keys=True).encode()
        signature = self._private.sign(_encoded(payload), ec.ECDSA(hashes.SHA256()))
        bundle = {
            "mediaType": _BUNDLE,
            "verificationMaterial": {
                "publicKey": {"hint": self.fingerprint.removeprefix("sha256:")},
                "tlogEntries": [],
            },
            "dsseEnvelope": {
                "payload": base64.b64encode(payload).decode(),
                "payloadType": _PAYLOAD,
                "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
            },
        }
        return json.dumps(bundle, indent=2, sort_keys=True).encode() + b"\n"


def public_key_of(pem: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of `pem`. Raises Invalid: not one that signs packages."""
    try:
        public = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid("not a key for packages", code="bad_package_key") from error
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise Invalid("not a key for packages", code="bad_package_key")
    _check_curve(public)
    return public


def open_signature(data: bytes, public: ec.EllipticCurvePublicKey) -> SignedFiles:
    """What `data` (unverified bytes of a `model.sig`) signs.

    Raises Tampered: the signature does not hold. Raises Invalid: not such a signature.
    """
    try:
        bundle = json.loads(data)
        envelope = bundle["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        fits = bundle["mediaType"] == _BUNDLE and envelope["payloadType"] == _PAYLOAD
        fits = fits and len(envelope["signatures"]) == 1
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise _bad() from error
    if not fits:
        raise _bad()
    try:
        public.verify(signature, _encoded(payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        message = "the package's signature does not hold"
        raise Tampered(message, code="package_changed", where=SIGNATURE_NAME) from error
    try:
        return _signed_files(json.loads(payload))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _bad() from error


def _statement(signed: SignedFiles) -> dict[str, Any]:
    rows = sorted(signed.files.items())
    whole = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in rows)).hexdigest()
    return {
        "_type": _STATEMENT,
        "subject": [{"name": signed.name, "digest": {"sha256": whole}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": _SERIALIZATION,
            "resources": [
                {"name": path, "algorithm": "sha256", "digest": digest} for path, digest in rows
            ],
        },
    }


def _signed_files(statement: dict[str, Any]) -> SignedFiles:
    rows = statement["predicate"]["resources"]
    (subject,) = statement["subject"]
    files = {str(row["name"]): str(row["digest"]) for row in rows}
    found = SignedFiles(str(subject["name"]), files)
    if not 0 < len(rows) <= FILES_MAX or _statement(found) != statement:
        raise _bad()
    return found


def _encoded(payload: bytes) -> bytes:
    return f"DSSEv1 {len(_PAYLOAD)} {_PAYLOAD} {len(payload)} ".encode() + payload


def _pem(public: ec.EllipticCurvePublicKey) -> bytes:
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _check_curve(public: ec.EllipticCurvePublicKey) -> None:
    if not isinstance(public.curve, ec.SECP256R1):
        raise Invalid("a key for packages is of curve P-256", code="bad_package_key")


def _bad() -> Invalid:
    hint = "it is written by 'dutchdoor release export', in the form of OpenSSF model signing v1.0"
    return Invalid(f"not a {SIGNATURE_NAME}", code="bad_package_signature", hint=hint)
