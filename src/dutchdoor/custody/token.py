"""A custodian's key inside a PKCS#11 token: it is made there and never leaves it.

The token does the Diffie-Hellman of HPKE with P-256 (`CKM_ECDH1_DERIVE`); what it gives back opens
this one share and nothing else. Whoever has the machine but neither token nor PIN opens nothing.
P-256 gives no protection against quantum computers: tokens do not offer more yet.
Source: PKCS #11 v2.40, section 2.3.8 (elliptic curve Diffie-Hellman).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from typing import Any, ClassVar
from urllib.parse import quote, unquote

from dutchdoor.custody.hpke import open_with_exchange
from dutchdoor.custody.model import CustodianPublic, Kem, check_name
from dutchdoor.custody.ports import AskSecret
from dutchdoor.errors import Invalid, NotFound, Refused, Unavailable

__all__ = ["TokenKey", "TokenPlace"]

_COORDINATE_BYTES = 32


@dataclass(frozen=True)
class TokenPlace:
    """Where a key lies. module: path of the PKCS#11 library. token, label: their labels."""

    module: str
    token: str
    label: str

    kind: ClassVar[str] = "pkcs11"

    @property
    def line(self) -> str:
        """What the key file says of it; nothing secret."""
        return " ".join([self.kind, *(quote(part, "/") for part in astuple(self))])

    @classmethod
    def parse(cls, line: str) -> TokenPlace:
        """The place of a key file's line. Raises Invalid: not such a line."""
        kind, *parts = line.split(" ")
        if kind != cls.kind or len(parts) != 3:
            raise Invalid("a key file with another kind of lock", code="bad_key_file")
        return cls(*(unquote(part) for part in parts))


class TokenKey:
    """A custodian's key that lives in a token: asks for the PIN once, and keeps no secret else."""

    def __init__(self, name: str, public_key: bytes, place: TokenPlace, ask: AskSecret) -> None:
        """public_key: 65 bytes, as the key file has it. ask: gives the PIN, when it is needed."""
        self._name = check_name(name)
        self._public = CustodianPublic(name, public_key, Kem.P256)
        self._place = place
        self._ask = ask
        self._pin = ""

    @classmethod
    def create(cls, name: str, place: TokenPlace, ask: AskSecret) -> TokenKey:
        """A new key inside the token, sensitive, not extractable, for derivation alone.

        Raises Refused: the PIN, or a key of this label is there already. Raises Unavailable.
        """
        pkcs11 = _library()
        draft = cls(name, bytes(Kem.P256.public_bytes), place, ask)
        with draft._session(writable=True) as session:
            if list(session.get_objects({pkcs11.Attribute.LABEL: place.label})):
                message = f"there is a key labelled '{place.label}' in the token already"
                raise Refused(message, code="key_exists", hint="choose another label")
            return cls(name, _generate(session, place.label), place, ask)

    @property
    def name(self) -> str:
        return self._name

    @property
    def public(self) -> CustodianPublic:
        return self._public

    @property
    def key_id(self) -> str:
        return self._public.key_id

    def open(self, sealed: bytes, info: bytes) -> bytes | None:
        """What was sealed to this key under `info`, or None.

        Raises Refused: the PIN. Raises NotFound: no such token or key. Raises Unavailable.
        """
        with self._session(writable=False) as session:
            private = self._private(session)
            return open_with_exchange(
                sealed, info, self._public.public_key, lambda point: _derive(private, point)
            )

    def _private(self, session: Any) -> Any:
        pkcs11 = _library()
        wanted = {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY,
            pkcs11.Attribute.LABEL: self._place.label,
        }
        found = list(session.get_objects(wanted))
        if len(found) != 1:
            message = f"the token holds {len(found)} keys labelled '{self._place.label}'"
            raise NotFound(message, code="token_key_not_found", hint="is this the right token?")
        return found[0]

    @contextmanager
    def _session(self, *, writable: bool) -> Iterator[Any]:
        pkcs11 = _library()
        errors = pkcs11.exceptions
        try:
            token = pkcs11.lib(self._place.module).get_token(token_label=self._place.token)
            if not self._pin:
                self._pin = self._ask(f"PIN of the token '{self._place.token}'").decode()
            with token.open(user_pin=self._pin, rw=writable) as session:
                yield session
        except (errors.NoSuchToken, errors.MultipleTokensReturned) as error:
            message = f"no token '{self._place.token}' is there"
            raise NotFound(message, code="token_not_found", hint="plug it in") from error
        except (errors.PinIncorrect, errors.PinInvalid, errors.PinLenRange, UnicodeDecodeError):
            self._pin = ""
            message, hint = "the token refuses this PIN", "tokens lock after a few wrong ones"
            raise Refused(message, code="pin_refused", hint=hint) from None
        except errors.PinLocked:
            message, hint = "the token is locked", "unlock it with its security officer's PIN"
            raise Refused(message, code="pin_refused", hint=hint) from None
        except (errors.PKCS11Error, RuntimeError, OSError) as error:
            message = f"the token cannot be used: {type(error).__name__}"
            hint = f"is {self._place.module} the token's PKCS#11 library?"
            raise Unavailable(message, code="token_unavailable", hint=hint) from error

    def __repr__(self) -> str:
        return f"TokenKey({self._name}, {self.key_id})"


def _generate(session: Any, label: str) -> bytes:
    """Makes the pair in the token; gives the public point, 65 bytes."""
    from pkcs11 import Attribute, KeyType, MechanismFlag
    from pkcs11.util.ec import encode_named_curve_parameters

    curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    parameters = session.create_domain_parameters(KeyType.EC, curve, local=True)
    public, _ = parameters.generate_keypair(
        id=secrets.token_bytes(8),
        label=label,
        store=True,
        capabilities=MechanismFlag.DERIVE,
        private_template={
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.PRIVATE: True,
            Attribute.SIGN: False,
        },
    )
    point = bytes(public[Attribute.EC_POINT])
    # PKCS#11 wraps the point in an OCTET STRING: two bytes for one of 65 bytes.
    return point[-Kem.P256.public_bytes :]


def _derive(private: Any, point: bytes) -> bytes:
    """The shared x-coordinate with the sender's `point`, by the token."""
    from pkcs11 import KDF, Attribute, KeyType

    shared = private.derive_key(
        KeyType.GENERIC_SECRET,
        _COORDINATE_BYTES * 8,
        mechanism_param=(KDF.NULL, None, point),
        store=False,
        template={
            # The result must come out: HPKE goes on outside the token. The key itself stays.
            Attribute.SENSITIVE: False,
            Attribute.EXTRACTABLE: True,
            Attribute.VALUE_LEN: _COORDINATE_BYTES,
        },
    )
    return bytes(shared[Attribute.VALUE])


def _library() -> Any:
    """python-pkcs11, an optional library. Raises Unavailable: it is not installed."""
    try:
        import pkcs11
        import pkcs11.exceptions
    except ImportError as error:
        hint = "pip install 'dutchdoor[pkcs11]'"
        message = "keys in tokens need python-pkcs11"
        raise Unavailable(message, code="no_pkcs11", hint=hint) from error
    return pkcs11
