"""Custodians' keys that are not simply in a file: behind a lock, or inside a token.

Such a key file has six lines: the format's name, then `kind`, `name`, `public`, `lock` and
`secret`. The lock seals the secret and binds it to the lines before it. In a token's file the
secret is empty. `docs/spec/opening.md` gives the forms.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import NamedTuple

from dutchdoor.custody.fields import BAD_FIELD, base64_text, bytes_of
from dutchdoor.custody.hpke import SEED_BYTES
from dutchdoor.custody.keyring import (
    FILE_FORMAT,
    CustodianKey,
    bad_key_file,
    load_custodian_key,
    read_key_file,
    write_key_file,
)
from dutchdoor.custody.locks import PassphraseLock
from dutchdoor.custody.model import CustodianPublic, Kem, check_name
from dutchdoor.custody.ports import AskSecret, Identity, Lock
from dutchdoor.custody.token import TokenKey, TokenPlace
from dutchdoor.custody.transit import TransitLock
from dutchdoor.errors import Invalid, Refused

__all__ = [
    "Kept",
    "create_in_token",
    "create_locked",
    "kept_at",
    "load_identity",
    "relock",
    "rewrap",
]

LOCKED_FORMAT = "dutchdoor-key-2"
_LINES = ["kind", "name", "public", "lock", "secret"]


class Kept(NamedTuple):
    """What a key file says without its secret. lock: `passphrase`, `transit`, `pkcs11`, or ""."""

    public: CustodianPublic
    lock: str


class _Locked(NamedTuple):
    """A key file of six lines, read. bound: the lines that the lock binds the secret to."""

    public: CustodianPublic
    lock: str
    secret: bytes
    bound: bytes


def create_locked(
    path: Path, name: str, lock: Lock, imported: tuple[Kem, bytes] | None = None
) -> CustodianKey:
    """A custodian's key in a new file at `path`, behind `lock`.

    imported: the kind and seeds of a key from elsewhere; without it a new X-Wing key.
    Raises Refused: the file exists, or the lock says no. Raises Invalid, Unavailable.
    """
    kem, seeds = imported or (Kem.XWING, secrets.token_bytes(SEED_BYTES))
    key = CustodianKey(name, seeds, kem)
    _write(path, key.public, lock, seeds, replace=False)
    return key


def create_in_token(path: Path, name: str, place: TokenPlace, ask: AskSecret) -> TokenKey:
    """A new key inside a token, and a file at `path` that says where it is.

    Raises Refused: the file or the key exists, or the PIN. Raises NotFound, Unavailable.
    """
    if path.exists():
        message = f"there is a key at {path} already"
        raise Refused(message, code="key_exists", hint="choose another name")
    key = TokenKey.create(name, place, ask)
    write_key_file(path, [*_head(key.public, place.line), "secret: "])
    return key


def kept_at(path: Path) -> Kept:
    """Whose key lies at `path`, and how it is kept; no secret is read.

    Raises NotFound, Refused, Invalid: as loading it does.
    """
    data = read_key_file(path)
    if data.startswith(f"{FILE_FORMAT}\n".encode()):
        return Kept(_load_plain(path, data).public, "")
    locked = _parse(path, data)
    return Kept(locked.public, locked.lock.partition(" ")[0])


def load_identity(path: Path, ask: AskSecret) -> Identity:
    """The custodian's key at `path`. ask: gives what its lock or token asks for.

    Raises NotFound: no such file. Raises Refused: others may read it, or the lock says no.
    Raises Invalid: malformed. Raises Unavailable: the key management service or the token.
    """
    data = read_key_file(path)
    if data.startswith(f"{FILE_FORMAT}\n".encode()):
        return _load_plain(path, data)
    locked = _parse(path, data)
    if locked.lock.startswith(f"{TokenPlace.kind} "):
        return _token(path, locked, ask)
    return _unlock(path, locked, _lock(locked.lock, ask))[0]


def relock(path: Path, ask: AskSecret, lock: Lock) -> None:
    """Put the key at `path` behind `lock` in place of the one it has; the key stays the same.

    The new file takes the place of the old one in one step, after it was opened once.
    Raises as `load_identity`; Refused: a key in a token has no lock but its own.
    """
    data = read_key_file(path)
    if data.startswith(f"{FILE_FORMAT}\n".encode()):
        key, seeds = _load_plain(path, data), _seeds(data)
    else:
        locked = _parse(path, data)
        if locked.lock.startswith(f"{TokenPlace.kind} "):
            message = "a key in a token is behind the token's PIN"
            raise Refused(message, code="key_in_token", hint="change the PIN with its own tools")
        key, seeds = _unlock(path, locked, _lock(locked.lock, ask))
    _write(path, key.public, lock, seeds, replace=True)


def rewrap(path: Path, ask: AskSecret) -> None:
    """Bring the key at `path` under the newest version of its service's key.

    The secret is not opened. Raises Invalid: it is behind no key management service.
    """
    locked = _parse(path, read_key_file(path))
    if not locked.lock.startswith(f"{TransitLock.kind} "):
        message = f"{path} is behind no key management service"
        raise Invalid(message, code="not_in_kms", hint="see 'dutchdoor custody list'")
    closed = TransitLock.parse(ask, locked.lock).rewrap(locked.secret)
    lines = [*_head(locked.public, locked.lock), f"secret: {base64_text(closed)}"]
    write_key_file(path, lines, replace=True)


def _write(path: Path, public: CustodianPublic, lock: Lock, seeds: bytes, *, replace: bool) -> None:
    head = _head(public, lock.line)
    closed = lock.close(seeds, _bound(head))
    write_key_file(path, [*head, f"secret: {base64_text(closed)}"], replace=replace)


def _head(public: CustodianPublic, lock: str) -> list[str]:
    return [
        LOCKED_FORMAT,
        f"kind: {public.kem}",
        f"name: {public.name}",
        f"public: {base64_text(public.public_key)}",
        f"lock: {lock}",
    ]


def _bound(head: list[str]) -> bytes:
    return "".join(line + "\n" for line in head).encode()


def _parse(path: Path, data: bytes) -> _Locked:
    try:
        form, *lines, end = data.decode("ascii").split("\n")
        fields = [line.split(": ", 1) for line in lines]
        well_formed = form == LOCKED_FORMAT and not end and [f[0] for f in fields] == _LINES
        kem, name = Kem(fields[0][1]), check_name(fields[1][1])
        public = CustodianPublic(name, bytes_of(fields[2][1]), kem)
        lock, secret = fields[3][1], bytes_of(fields[4][1])
    except (ValueError, IndexError, *BAD_FIELD):
        raise bad_key_file(path) from None
    if not well_formed or len(public.public_key) != kem.public_bytes:
        raise bad_key_file(path)
    in_token = lock.startswith(f"{TokenPlace.kind} ")
    if in_token != (kem is Kem.P256) or in_token == bool(secret):
        raise bad_key_file(path)
    return _Locked(public, lock, secret, _bound(_head(public, lock)))


def _lock(line: str, ask: AskSecret) -> Lock:
    if line.startswith(f"{TransitLock.kind} "):
        return TransitLock.parse(ask, line)
    return PassphraseLock(ask, line)


def _unlock(path: Path, locked: _Locked, lock: Lock) -> tuple[CustodianKey, bytes]:
    seeds = lock.open(locked.secret, locked.bound)
    key = CustodianKey(locked.public.name, seeds, locked.public.kem)
    if key.public != locked.public:
        raise bad_key_file(path)
    return key, seeds


def _token(path: Path, locked: _Locked, ask: AskSecret) -> TokenKey:
    place = TokenPlace.parse(locked.lock)
    return TokenKey(locked.public.name, locked.public.public_key, place, ask)


def _load_plain(path: Path, data: bytes) -> CustodianKey:
    kem = Kem.X25519 if b"\nkind: x25519\n" in data else Kem.XWING
    return load_custodian_key(path, kem)


def _seeds(data: bytes) -> bytes:
    """The secret of a plain key file that `_load_plain` has accepted."""
    return bytes_of(data.decode("ascii").split("\n")[4].removeprefix("secret: "))
