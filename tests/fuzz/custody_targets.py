"""More targets: what custodians carry between machines, and what their key files say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dutchdoor.custody import identity, keyring
from dutchdoor.custody.age import read_age_identity
from dutchdoor.custody.drill import DrillProof, DrillRequest
from dutchdoor.custody.http import check_url
from dutchdoor.custody.locks import PassphraseLock
from dutchdoor.custody.messages import Ceremony, ShareGrant
from dutchdoor.custody.public import KeyKind
from dutchdoor.custody.token import TokenPlace
from dutchdoor.custody.transit import TransitLock

__all__ = ["CUSTODY_TARGETS"]

NOWHERE = Path("/nowhere/one.key")
DIGEST = "sha256:" + "a" * 64


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: parse(data.decode("utf-8", "replace"))


def _same(decode: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """A message comes out as it went in, or is refused."""

    def run(data: bytes) -> None:
        found = decode(data)
        assert found.encode() == data  # type: ignore[attr-defined]

    return run


def never(_what: str) -> bytes:
    """Nobody is asked for a passphrase while a key file is read."""
    raise AssertionError("a parser asked for a secret")


def _key_file() -> list[bytes]:
    lines = [
        keyring.FILE_FORMAT,
        "kind: secret",
        "name: one",
        "public: ",
        "secret: " + "A" * 43 + "=",
    ]
    return ["".join(line + "\n" for line in lines).encode()]


def _locked_file() -> list[bytes]:
    lock = TransitLock(never, "https://kms.example", "transit", "one").line
    lines = ["dutchdoor-key-2", "kind: x25519", "name: one", "public: " + "A" * 43 + "="]
    lines += [f"lock: {lock}", "secret: " + "A" * 80]
    return ["".join(line + "\n" for line in lines).encode()]


CUSTODY_TARGETS: dict[str, tuple[Callable[[bytes], object], Callable[[], list[bytes]]]] = {
    "age_identity": (read_age_identity, lambda: [b"# a comment\nAGE-SECRET-KEY-1" + b"Q" * 58]),
    "ceremony": (_same(Ceremony.decode), lambda: [Ceremony(b"r", 3, b"m", b"s", b"e").encode()]),
    "drill": (
        _same(DrillRequest.decode),
        lambda: [
            b'{"bundle":"%s","created_ms":1,"expires_ms":2,"kind":"custody_drill","nonce":"%s",'
            b'"shares":"%s","v":1}' % (DIGEST.encode(), b"0" * 64, DIGEST.encode())
        ],
    ),
    "drill_proof": (
        _same(DrillProof.decode),
        lambda: [DrillProof(DIGEST, "xwing:" + "0" * 16, b"p" * 64).encode()],
    ),
    "key_file": (lambda data: keyring._parse(NOWHERE, data, KeyKind.SECRET), _key_file),
    "key_file_locked": (lambda data: identity._parse(NOWHERE, data), _locked_file),
    "passphrase_line": (
        _text(lambda line: PassphraseLock(never, line)),
        lambda: [b"passphrase argon2id 2 65536 1 " + b"AAAAAAAAAAAAAAAAAAAAAA=="],
    ),
    "share_grant": (_same(ShareGrant.decode), lambda: [ShareGrant(b"r", b"p" * 64).encode()]),
    "token_line": (
        _text(TokenPlace.parse),
        lambda: [TokenPlace("/usr/lib/libsofthsm2.so", "token one", "key").line.encode()],
    ),
    "transit_line": (
        _text(lambda line: TransitLock.parse(never, line)),
        lambda: [TransitLock(never, "https://kms.example", "transit", "one").line.encode()],
    ),
    "url": (_text(check_url), lambda: [b"https://kms.example:8200/path", b"https://[::1]/"]),
}
