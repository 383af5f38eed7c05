"""Custodians' keys behind locks: nothing but the right secret opens them, and nothing is lost."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dutchdoor.custody.hpke import seal_to
from dutchdoor.custody.identity import create_locked, kept_at, load_identity, relock, rewrap
from dutchdoor.custody.keyring import create_custodian_key, create_folder, load_custodian_key
from dutchdoor.custody.locks import PassphraseLock
from dutchdoor.custody.ports import AskSecret
from dutchdoor.custody.transit import TransitLock
from dutchdoor.errors import DutchdoorError, Invalid, Refused, Tampered, Unavailable
from tests.custody.transit_server import TOKEN, Transit, transit

PASSPHRASE = b"correct horse battery staple"


def says(*secrets: bytes) -> AskSecret:
    """Somebody who gives these, one each time, the last for ever."""
    left = list(secrets)
    return lambda _what: left.pop(0) if len(left) > 1 else left[0]


def refusal(path: Path, ask: AskSecret) -> DutchdoorError:
    with pytest.raises(DutchdoorError) as caught:
        load_identity(path, ask)
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return create_folder(tmp_path / "keys")


@pytest.fixture
def locked(folder: Path) -> Path:
    create_locked(folder / "one.key", "one", PassphraseLock(says(PASSPHRASE)))
    return folder / "one.key"


@pytest.fixture
def engine() -> Iterator[Transit]:
    with transit() as found:
        yield found


def test_the_right_passphrase_opens_and_another_does_not(locked: Path) -> None:
    identity = load_identity(locked, says(PASSPHRASE))
    sealed = seal_to(identity.public.public_key, b"a share", b"info")
    assert identity.open(sealed, b"info") == b"a share"
    for wrong in (b"", b"correct horse battery stapl", PASSPHRASE + b" ", os.urandom(28)):
        error = refusal(locked, says(wrong))
        assert (type(error), error.code) == (Refused, "key_locked")


def test_neither_file_nor_error_tells_the_secret(locked: Path) -> None:
    seeds = PassphraseLock(says(PASSPHRASE), _line(locked, "lock")).open(
        base64.b64decode(_line(locked, "secret")), _bound(locked)
    )
    data = locked.read_bytes()
    assert seeds not in data
    assert base64.b64encode(seeds) not in data
    assert PASSPHRASE not in data
    assert locked.stat().st_mode & 0o777 == 0o600
    error = refusal(locked, says(b"a wrong passphrase"))
    assert "wrong passphrase" not in f"{error!r} {error.hint} {error.__cause__!r}"


@pytest.mark.parametrize("field", ["kind", "name", "public", "lock", "secret"])
def test_no_line_of_a_locked_file_can_be_changed(locked: Path, folder: Path, field: str) -> None:
    other = folder / "other.key"
    create_locked(other, "other", PassphraseLock(says(PASSPHRASE)))
    mine, theirs = _line(locked, field), _line(other, field)
    changed = {"kind": "x25519"}.get(field, theirs)
    text = locked.read_text().replace(f"{field}: {mine}\n", f"{field}: {changed}\n")
    assert text != locked.read_text()
    locked.write_text(text)
    assert refusal(locked, says(PASSPHRASE)).code in {"key_locked", "bad_key_file"}


@pytest.mark.parametrize("passphrase", [b"", b"short", b"elevenchars", b"x" * 1025])
def test_a_weak_passphrase_makes_no_key(folder: Path, passphrase: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        create_locked(folder / "weak.key", "weak", PassphraseLock(says(passphrase)))
    assert caught.value.code == "weak_passphrase"
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    "costs", ["3 99999999 4", "99 65536 4", "3 65536 99", "0 65536 4", "3 65536 0", "3 8 4", "3 4"]
)
def test_a_key_file_cannot_ask_for_all_of_the_machine(locked: Path, costs: str) -> None:
    locked.write_text(locked.read_text().replace("3 65536 4", costs))
    assert refusal(locked, says(PASSPHRASE)).code == "bad_key_file"


def test_a_lock_is_changed_without_changing_the_key(folder: Path) -> None:
    key = create_custodian_key(folder / "one.key", "one")
    other = b"another passphrase entirely"
    relock(folder / "one.key", says(b"unused"), PassphraseLock(says(PASSPHRASE)))
    with pytest.raises(Invalid):
        load_custodian_key(folder / "one.key")
    relock(folder / "one.key", says(PASSPHRASE), PassphraseLock(says(other)))
    assert load_identity(folder / "one.key", says(other)).key_id == key.key_id
    assert refusal(folder / "one.key", says(PASSPHRASE)).code == "key_locked"
    assert [path.name for path in folder.iterdir()] == ["one.key"]


def test_a_lock_that_cannot_be_changed_leaves_the_old_one(locked: Path) -> None:
    before = locked.read_bytes()
    for ask, lock in (
        (says(b"not the passphrase"), PassphraseLock(says(PASSPHRASE))),
        (says(PASSPHRASE), PassphraseLock(says(b"short"))),
        (says(PASSPHRASE), TransitLock(says(TOKEN), "http://127.0.0.1:1", "transit", "one")),
    ):
        with pytest.raises(DutchdoorError):
            relock(locked, ask, lock)
        assert locked.read_bytes() == before


def test_a_key_management_service_opens_it_and_never_sees_it(folder: Path, engine: Transit) -> None:
    lock = TransitLock(says(TOKEN), engine.url, "transit", "one")
    key = create_locked(folder / "one.key", "one", lock)
    assert kept_at(folder / "one.key").lock == "transit"
    identity = load_identity(folder / "one.key", says(TOKEN))
    assert identity.key_id == key.key_id
    verbs = [verb for verb, _ in engine.asked]
    assert verbs == ["encrypt", "decrypt"]
    data_key = base64.b64decode(engine.asked[0][1]["plaintext"])
    assert len(data_key) == 32, "the service sees a data key, not the 96 bytes of the custodian's"
    assert TOKEN not in (folder / "one.key").read_bytes()


def test_a_new_version_of_the_services_key_needs_no_secret(folder: Path, engine: Transit) -> None:
    path = folder / "one.key"
    key = create_locked(path, "one", TransitLock(says(TOKEN), engine.url, "transit", "one"))
    engine.rotate("one")
    rewrap(path, says(TOKEN))
    assert [verb for verb, _ in engine.asked] == ["encrypt", "rewrap"]
    engine.keys["one"][0] = os.urandom(32)  # The old version is destroyed.
    assert load_identity(path, says(TOKEN)).key_id == key.key_id
    create_locked(folder / "two.key", "two", PassphraseLock(says(PASSPHRASE)))
    with pytest.raises(Invalid) as caught:
        rewrap(folder / "two.key", says(TOKEN))
    assert caught.value.code == "not_in_kms"


def test_a_service_that_says_no_or_lies_opens_nothing(folder: Path, engine: Transit) -> None:
    path = folder / "one.key"
    create_locked(path, "one", TransitLock(says(TOKEN), engine.url, "transit", "one"))
    error = refusal(path, says(b"hvs.another-token"))
    assert (type(error), error.code) == (Refused, "kms_refused")
    engine.sealed = True
    error = refusal(path, says(TOKEN))
    assert (type(error), error.code) == (Unavailable, "kms_unavailable")
    engine.sealed = False
    for answer in (b"", b"[]", b"{}", b'{"data":{}}', b'{"data":{"plaintext":1}}', b"x" * 70_000):
        engine.answer = answer
        assert refusal(path, says(TOKEN)).code == "kms_unavailable", answer[:30]
    wrong = base64.b64encode(os.urandom(32))
    engine.answer = b'{"data":{"plaintext":"' + wrong + b'"}}'
    assert isinstance(refusal(path, says(TOKEN)), Tampered)
    engine.answer = None
    assert load_identity(path, says(TOKEN)).name == "one"


def test_a_service_that_is_down_is_said_to_be(folder: Path) -> None:
    path = folder / "one.key"
    with transit() as engine:
        create_locked(path, "one", TransitLock(says(TOKEN), engine.url, "transit", "one"))
    error = refusal(path, says(TOKEN))
    assert (type(error), error.code) == (Unavailable, "kms_unavailable")


@pytest.mark.parametrize(
    "url",
    [
        "http://kms.example:8200",
        "http://10.0.0.1:8200",
        "ftp://127.0.0.1",
        "https://token@kms.example",
        "https://kms.example/?a=b",
        "https://kms.example:port",
        "http://127.0.0.1.evil.example",
        "",
    ],
)
def test_a_token_goes_to_no_address_that_others_could_read(url: str) -> None:
    with pytest.raises(Invalid):
        TransitLock(says(TOKEN), url, "transit", "one")


@pytest.mark.parametrize("name", ["", "../sys", "a/b", "a b", "a?b", "-a"])
def test_a_transit_key_is_named_by_a_name(name: str) -> None:
    with pytest.raises(Invalid):
        TransitLock(says(TOKEN), "https://kms.example", "transit", name)


@pytest.mark.parametrize(
    "data", [b"", b"dutchdoor-key-2\n", b"\xff\n", b"dutchdoor-key-2\nkind: x"]
)
def test_what_is_no_key_file_is_refused(folder: Path, data: bytes) -> None:
    path = folder / "bad.key"
    path.write_bytes(data)
    path.chmod(0o600)
    assert refusal(path, says(PASSPHRASE)).code == "bad_key_file"


def _line(path: Path, field: str) -> str:
    lines = dict(line.split(": ", 1) for line in path.read_text().splitlines()[1:])
    return lines[field]


def _bound(path: Path) -> bytes:
    return path.read_bytes().split(b"secret: ", maxsplit=1)[0]
