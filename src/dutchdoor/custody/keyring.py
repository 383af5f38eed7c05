"""Key files: private keys at rest, readable by their owner alone.

A key file is five lines of text: the format's name, then `kind`, `name`, `public` and `secret`;
one behind a lock has a sixth (`identity.py`).
The folder has mode 0700 and the file 0600; looser ones are refused, because a key that others
could read is no longer a key. A file is never overwritten: a lost key cannot be made again.
`docs/spec/opening.md` gives the form of both the file and the public line.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dutchdoor.custody.fields import BAD_FIELD, base64_text, bytes_of
from dutchdoor.custody.hpke import SEED_BYTES, X25519_SEED_BYTES, ClassicalKey, PrivateKey
from dutchdoor.custody.model import CustodianPublic, CustodyLimits, Kem, check_name
from dutchdoor.custody.public import (
    PUBLIC_LENGTH,
    KeyKind,
    PublicKey,
    parse_public_line,
    public_line,
)
from dutchdoor.durable import sync_folder
from dutchdoor.errors import Invalid, NotFound, Refused, Unavailable
from dutchdoor.evidence.statement import key_id

__all__ = [
    "CustodianKey",
    "FileSigner",
    "KeyKind",
    "PublicKey",
    "bad_key_file",
    "create_custodian_key",
    "create_folder",
    "create_secret",
    "create_signing_key",
    "load_custodian_key",
    "load_secret",
    "load_signing_key",
    "parse_public_line",
    "read_key_file",
    "write_key_file",
]

FILE_FORMAT = "dutchdoor-key-1"
_SECRET_BYTES = 32
_ED25519_BYTES = 32


_SECRET_LENGTH = {
    KeyKind.SIGNING: _ED25519_BYTES,
    KeyKind.CUSTODIAN: SEED_BYTES,
    KeyKind.CLASSICAL: X25519_SEED_BYTES,
    # The secret never leaves its token: a file cannot hold one.
    KeyKind.TOKEN: 0,
    KeyKind.SECRET: _SECRET_BYTES,
}


class FileSigner:
    """An Ed25519 signing key from a key file; implements `evidence.ports.Signer`."""

    __slots__ = ("_name", "_private", "_public")

    def __init__(self, name: str, seed: bytes) -> None:
        assert len(seed) == _ED25519_BYTES, "an Ed25519 seed has 32 bytes"
        self._name = check_name(name)
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._private.public_key().public_bytes_raw()

    @property
    def name(self) -> str:
        return self._name

    @property
    def public_key(self) -> bytes:
        return self._public

    @property
    def public(self) -> PublicKey:
        """The public part, for trust.json and for others."""
        return PublicKey(KeyKind.SIGNING, self._name, self._public)

    def sign(self, data: bytes) -> bytes:
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"FileSigner({self._name}, {key_id(self._public)})"


class CustodianKey:
    """A custodian's key from a key file: opens the shares that were wrapped to it."""

    __slots__ = ("_kem", "_name", "_private")

    def __init__(self, name: str, seeds: bytes, kem: Kem = Kem.XWING) -> None:
        """name: whose key it is. seeds: secret, 96 bytes, 32 of X25519."""
        assert kem is not Kem.P256, "a token's key is in no file"
        self._name = check_name(name)
        self._kem = kem
        self._private = PrivateKey(seeds) if kem is Kem.XWING else ClassicalKey(seeds)

    @property
    def name(self) -> str:
        return self._name

    @property
    def public(self) -> CustodianPublic:
        """The public part, to wrap shares to."""
        return CustodianPublic(self._name, self._private.public_key, self._kem)

    @property
    def key_id(self) -> str:
        return self.public.key_id

    def line(self) -> str:
        """The public part as one line of text."""
        return public_line(self.public)

    def open(self, sealed: bytes, info: bytes) -> bytes | None:
        """What was sealed to this key under `info`, or None."""
        return self._private.open(sealed, info)

    def __repr__(self) -> str:
        return f"CustodianKey({self._name}, {self.key_id})"


def create_folder(path: Path) -> Path:
    """`path` as a folder for key files, made with mode 0700 where it does not exist yet.

    Raises Refused: it exists and others may look into it.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    _check_mode(path, path.stat())
    return path


def create_signing_key(path: Path, name: str) -> FileSigner:
    """A new Ed25519 key in a new file at `path`.

    Raises Refused: the file exists, or its folder is open to others. Raises Invalid: the name.
    """
    seed = secrets.token_bytes(_ED25519_BYTES)
    signer = FileSigner(name, seed)
    _write_new(path, KeyKind.SIGNING, name, signer.public_key, seed)
    return signer


def create_custodian_key(path: Path, name: str) -> CustodianKey:
    """A new X-Wing key in a new file at `path`.

    Raises Refused: the file exists, or its folder is open to others. Raises Invalid: the name.
    """
    seeds = secrets.token_bytes(SEED_BYTES)
    key = CustodianKey(name, seeds)
    _write_new(path, KeyKind.CUSTODIAN, name, key.public.public_key, seeds)
    return key


def create_secret(path: Path, name: str) -> bytes:
    """A new symmetric secret of 32 bytes in a new file at `path`.

    Raises Refused: the file exists, or its folder is open to others. Raises Invalid: the name.
    """
    secret = secrets.token_bytes(_SECRET_BYTES)
    _write_new(path, KeyKind.SECRET, check_name(name), b"", secret)
    return secret


def load_signing_key(path: Path) -> FileSigner:
    """The Ed25519 key in the file at `path`.

    Raises NotFound: no such file. Raises Refused: others may read it. Raises Invalid: malformed.
    """
    name, public, secret = _read(path, KeyKind.SIGNING)
    signer = FileSigner(name, secret)
    _check_pair(path, signer.public_key, public)
    return signer


def load_custodian_key(path: Path, kem: Kem = Kem.XWING) -> CustodianKey:
    """The custodian's key in the file at `path`, which no lock protects.

    Raises NotFound: no such file. Raises Refused: others may read it. Raises Invalid: malformed.
    """
    name, public, secret = _read(path, KeyKind(str(kem)))
    key = CustodianKey(name, secret, kem)
    _check_pair(path, key.public.public_key, public)
    return key


def load_secret(path: Path) -> bytes:
    """The 32 secret bytes in the file at `path`.

    Raises NotFound: no such file. Raises Refused: others may read it. Raises Invalid: malformed.
    """
    return _read(path, KeyKind.SECRET)[2]


def _write_new(path: Path, kind: KeyKind, name: str, public: bytes, secret: bytes) -> None:
    lines = (
        FILE_FORMAT,
        f"kind: {kind}",
        f"name: {name}",
        f"public: {base64_text(public)}",
        f"secret: {base64_text(secret)}",
    )
    write_key_file(path, lines)


def write_key_file(path: Path, lines: Sequence[str], *, replace: bool = False) -> None:
    """Write a key file of `lines`, whole or not at all.

    replace: in the place of an older file that holds the same key behind another lock.
    Raises Refused: there is one already, or its folder is open to others. Raises Unavailable.
    """
    folder = create_folder(path.parent)
    draft = folder / f".{path.name}.{secrets.token_hex(8)}"
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write("".join(line + "\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.rename(path)
        else:
            # A hard link appears whole or not at all and, unlike a rename, never replaces a key.
            os.link(draft, path, follow_symlinks=False)
    except FileExistsError as error:
        message = f"there is a key at {path} already"
        hint = "choose another name; move the old key away only if nothing was sealed with it"
        raise Refused(message, code="key_exists", hint=hint) from error
    except OSError as error:
        message = f"the key cannot be written: {error.strerror}"
        hint = "make room on the disk; no key was made"
        raise Unavailable(message, code="key_not_written", hint=hint) from error
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(folder)


def read_key_file(path: Path) -> bytes:
    """The bytes of a key file that is its owner's alone (unverified).

    Raises NotFound: no such file. Raises Refused: others may read it. Raises Invalid: too long.
    """
    limit = CustodyLimits().key_file_bytes_max
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        hint = "check the path, or make the key first"
        raise NotFound(f"no key at {path}", code="key_not_found", hint=hint) from error
    except OSError as error:
        raise Refused(
            f"the key at {path} cannot be read",
            code="loose_permissions",
            hint="a key is a plain file of its owner, not a link",
        ) from error
    with os.fdopen(handle, "rb") as file:
        # The modes of what is open, not of what the path may name by now.
        _check_mode(path, os.fstat(file.fileno()))
        _check_mode(path.parent, path.parent.stat())
        data = file.read(limit + 1)
    if len(data) > limit:
        raise bad_key_file(path)
    return data


def _read(path: Path, kind: KeyKind) -> tuple[str, bytes, bytes]:
    return _parse(path, read_key_file(path), kind)


def _parse(path: Path, data: bytes, kind: KeyKind) -> tuple[str, bytes, bytes]:
    try:
        form, *lines, end = data.decode("ascii").split("\n")
        fields = [line.split(": ", 1) for line in lines]
        well_formed = form == FILE_FORMAT and not end and [f[0] for f in fields] == _FIELDS
        found, name = KeyKind(fields[0][1]), check_name(fields[1][1])
        public, secret = bytes_of(fields[2][1]), bytes_of(fields[3][1])
    except (ValueError, IndexError, *BAD_FIELD):
        # The cause is cut: its text could quote the secret line.
        raise bad_key_file(path) from None
    if not well_formed:
        raise bad_key_file(path)
    if found is not kind:
        message = f"the key at {path} is of kind {found}, {kind} is needed"
        raise Invalid(message, code="bad_key_file", hint="name the right file")
    if len(secret) != _SECRET_LENGTH[kind] or len(public) != PUBLIC_LENGTH[kind]:
        raise bad_key_file(path)
    return name, public, secret


_FIELDS = ["kind", "name", "public", "secret"]


def _check_pair(path: Path, derived: bytes, written: bytes) -> None:
    if derived != written:
        raise bad_key_file(path)


def bad_key_file(path: Path) -> Invalid:
    hint = "restore the file from a backup; a key cannot be repaired"
    return Invalid(f"{path} is not a key file of ours", code="bad_key_file", hint=hint)


def _check_mode(path: Path, status: os.stat_result) -> None:
    folder = stat.S_ISDIR(status.st_mode)
    if not folder and not stat.S_ISREG(status.st_mode):
        message, hint = f"{path} is no plain file", "a key is a plain file of its owner"
    elif stat.S_IMODE(status.st_mode) & 0o077:
        message = f"others may read {path}"
        hint = f"chmod {'700' if folder else '600'} {path}, then consider the key as seen"
    elif status.st_uid != os.geteuid():
        message = f"{path} belongs to somebody else"
        hint = "run as the owner of the key, or move the key to its user"
    else:
        return
    raise Refused(message, code="loose_permissions", hint=hint)
