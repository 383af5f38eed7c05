"""A key management service as a lock: OpenBao's or Vault's Transit engine, over its HTTP API.

The service encrypts a data key; the data key encrypts the custodian's secret here. So the service
never sees the secret, the file alone opens nothing, and a new version of the service's key needs
`rewrap` and nothing else. Tested against a server that speaks the documented paths, not against a
real OpenBao: see docs/concepts/custody.md.
Source: OpenBao API documentation, secrets/transit: encrypt, decrypt, rewrap data.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any
from urllib.parse import quote, unquote

from dutchdoor.custody.fields import base64_text, bytes_of
from dutchdoor.custody.http import call, check_url
from dutchdoor.custody.locks import open_sealed, seal_up
from dutchdoor.custody.ports import AskSecret
from dutchdoor.errors import DutchdoorError, Invalid, Refused, Tampered, Unavailable

__all__ = ["TransitLock"]

ANSWER_BYTES_MAX = 65_536
TOKEN_BYTES_MAX = 4_096
_DATA_KEY_BYTES = 32
_LENGTH_BYTES = 4
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_MOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
_CIPHERTEXT = re.compile(r"vault:v[0-9]{1,9}:[A-Za-z0-9+/=]{1,4096}")


class TransitLock:
    """A lock that a Transit engine opens, for whoever has a token for it."""

    kind = "transit"

    def __init__(self, ask: AskSecret, url: str, mount: str, key: str) -> None:
        """url: of the service; https, or http on this machine. mount: where Transit is mounted.

        key: the name of its key. ask: gives the service's token, when it is needed.
        Raises Invalid: not such a URL or name.
        """
        self._ask = ask
        self._token = ""
        self._url, self._mount, self._key = check_url(url), mount, key
        if _MOUNT.fullmatch(mount) is None or _NAME.fullmatch(key) is None:
            hint = "use letters, digits, '.', '_' and '-'; '/' in the mount only"
            raise Invalid("not the name of a Transit key", code="bad_kms", hint=hint)

    @classmethod
    def parse(cls, ask: AskSecret, line: str) -> TransitLock:
        """The lock of a key file's line. Raises Invalid: not such a line."""
        parts = line.split(" ")
        if len(parts) != 4 or parts[0] != cls.kind:
            raise Invalid("a key file with another kind of lock", code="bad_key_file")
        lock = cls(ask, *(unquote(part) for part in parts[1:]))
        if lock.line != line:
            raise Invalid("a key file with another kind of lock", code="bad_key_file")
        return lock

    @property
    def line(self) -> str:
        """What the key file says of this lock; nothing secret."""
        return " ".join([self.kind, *(quote(p, "") for p in (self._url, self._mount, self._key))])

    def close(self, secret: bytes, bound: bytes) -> bytes:
        """`secret` under a new data key that the service has encrypted.

        Raises Refused: the service says no. Raises Unavailable: it does not answer.
        """
        data_key = secrets.token_bytes(_DATA_KEY_BYTES)
        answer = self._call("encrypt", {"plaintext": base64_text(data_key)})
        text = _ciphertext(answer)
        return _pack(text, seal_up(data_key, secret, bound))

    def open(self, closed: bytes, bound: bytes) -> bytes:
        """The secret. Raises Refused, Unavailable as `close`. Raises Tampered: it was changed."""
        text, sealed = _unpack(closed)
        answer = self._call("decrypt", {"ciphertext": text})
        try:
            data_key = bytes_of(answer["plaintext"])
        except (KeyError, TypeError, Invalid):
            raise _bad_answer() from None
        opened = open_sealed(data_key, sealed, bound) if len(data_key) == _DATA_KEY_BYTES else None
        if opened is None:
            message = "the key that the service gave does not open this key file"
            hint = "restore the key file from a backup"
            raise Tampered(message, code="key_locked", hint=hint, where="secret")
        return opened

    def rewrap(self, closed: bytes) -> bytes:
        """`closed` under the newest version of the service's key; the secret is not seen."""
        text, sealed = _unpack(closed)
        return _pack(_ciphertext(self._call("rewrap", {"ciphertext": text})), sealed)

    def _call(self, verb: str, body: dict[str, str]) -> dict[str, Any]:
        self._token = self._token or _token(self._ask)
        path = f"/v1/{quote(self._mount)}/{verb}/{quote(self._key)}"
        headers = {"X-Vault-Token": self._token, "Content-Type": "application/json"}
        try:
            status, data = call(
                "POST",
                self._url,
                path,
                body=json.dumps(body).encode(),
                headers=headers,
                bytes_max=ANSWER_BYTES_MAX,
            )
        except Unavailable as error:
            message = f"the key management service at {self._url} does not answer"
            hint = "check its address, and that it is unsealed; nothing was opened"
            raise Unavailable(message, code="kms_unavailable", hint=hint) from error
        if status != 200:
            raise _failure(status, verb)
        try:
            value = json.loads(data)["data"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _bad_answer() from None
        if not isinstance(value, dict):
            raise _bad_answer()
        return value


def _token(ask: AskSecret) -> str:
    data = ask("token of the key management service")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not 0 < len(text) <= TOKEN_BYTES_MAX or not text.isprintable():
        hint = "give the token alone, on one line"
        raise Invalid("not a token", code="bad_kms_token", hint=hint)
    return text


def _pack(text: str, sealed: bytes) -> bytes:
    return len(text).to_bytes(_LENGTH_BYTES, "big") + text.encode() + sealed


def _unpack(closed: bytes) -> tuple[str, bytes]:
    end = _LENGTH_BYTES + int.from_bytes(closed[:_LENGTH_BYTES], "big")
    try:
        text = closed[_LENGTH_BYTES:end].decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if _CIPHERTEXT.fullmatch(text) is None:
        raise Invalid("the key file's secret is out of form", code="bad_key_file")
    return text, closed[end:]


def _ciphertext(answer: dict[str, Any]) -> str:
    text = answer.get("ciphertext")
    if not isinstance(text, str) or _CIPHERTEXT.fullmatch(text) is None:
        raise _bad_answer()
    return text


def _failure(status: int, verb: str) -> DutchdoorError:
    """What a status means. The service's own words stay out: they may quote what was sent."""
    if status >= 500 or status == 429:
        message = f"the key management service answered {status}"
        hint = "is it sealed, or overloaded? nothing was opened"
        return Unavailable(message, code="kms_unavailable", hint=hint)
    message = f"the key management service refused to {verb} ({status})"
    hint = "check the token's policy, the mount and the key's name"
    return Refused(message, code="kms_refused", hint=hint)


def _bad_answer() -> Unavailable:
    message = "the key management service's answer is out of form"
    return Unavailable(message, code="kms_unavailable", hint="is this its address?")
