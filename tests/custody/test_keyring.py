"""Key files are their owner's alone, are never overwritten, and never show their secret."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.custody.keyring import (
    CustodianKey,
    FileSigner,
    KeyKind,
    create_custodian_key,
    create_secret,
    create_signing_key,
    load_custodian_key,
    load_secret,
    load_signing_key,
    parse_public_line,
)
from dutchdoor.custody.model import ContentKey
from dutchdoor.errors import DutchdoorError, Invalid, NotFound, Refused


@pytest.fixture
def keyring(tmp_path: Path) -> Path:
    return tmp_path / "keyring"


def test_a_signing_key_comes_back_and_its_signatures_verify(keyring: Path) -> None:
    made = create_signing_key(keyring / "holder.key", "holder")
    loaded = load_signing_key(keyring / "holder.key")
    assert loaded.name == "holder"
    assert loaded.public_key == made.public_key
    Ed25519PublicKey.from_public_bytes(made.public_key).verify(loaded.sign(b"data"), b"data")


def test_a_custodian_key_comes_back(keyring: Path) -> None:
    made = create_custodian_key(keyring / "a.key", "custodian-a")
    assert load_custodian_key(keyring / "a.key").public == made.public


def test_a_secret_comes_back(keyring: Path) -> None:
    assert create_secret(keyring / "access.key", "access") == load_secret(keyring / "access.key")


def test_new_files_and_folders_are_closed_to_others(keyring: Path) -> None:
    old = os.umask(0)
    try:
        create_signing_key(keyring / "holder.key", "holder")
    finally:
        os.umask(old)
    assert keyring.stat().st_mode & 0o777 == 0o700
    assert (keyring / "holder.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in keyring.iterdir()] == ["holder.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_key_that_others_may_read_is_refused(keyring: Path, mode: int) -> None:
    create_signing_key(keyring / "holder.key", "holder")
    (keyring / "holder.key").chmod(mode)
    with pytest.raises(Refused) as caught:
        load_signing_key(keyring / "holder.key")
    assert caught.value.code == "loose_permissions"
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o755])
def test_a_folder_that_others_may_enter_is_refused(keyring: Path, mode: int) -> None:
    create_signing_key(keyring / "holder.key", "holder")
    keyring.chmod(mode)
    with pytest.raises(Refused) as caught:
        load_signing_key(keyring / "holder.key")
    assert caught.value.code == "loose_permissions"
    with pytest.raises(Refused):
        create_signing_key(keyring / "other.key", "other")
    assert not (keyring / "other.key").exists()


def test_a_key_is_never_overwritten(keyring: Path) -> None:
    create_signing_key(keyring / "holder.key", "holder")
    before = (keyring / "holder.key").read_bytes()
    with pytest.raises(Refused) as caught:
        create_custodian_key(keyring / "holder.key", "holder")
    assert caught.value.code == "key_exists"
    assert (keyring / "holder.key").read_bytes() == before
    assert [path.name for path in keyring.iterdir()] == ["holder.key"]


def test_a_link_in_the_place_of_a_key_is_refused(keyring: Path, tmp_path: Path) -> None:
    create_signing_key(keyring / "holder.key", "holder")
    (keyring / "link.key").symlink_to(keyring / "holder.key")
    with pytest.raises(Refused):
        load_signing_key(keyring / "link.key")
    (keyring / "dangling.key").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Refused) as caught:
        create_signing_key(keyring / "dangling.key", "x")
    assert caught.value.code == "key_exists"
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_key_says_so(keyring: Path) -> None:
    keyring.mkdir(mode=0o700)
    with pytest.raises(NotFound):
        load_signing_key(keyring / "holder.key")


def test_a_key_of_another_kind_is_refused(keyring: Path) -> None:
    create_signing_key(keyring / "holder.key", "holder")
    with pytest.raises(Invalid, match="is of kind ed25519"):
        load_custodian_key(keyring / "holder.key")


def test_a_public_part_that_does_not_belong_to_its_secret_is_refused(keyring: Path) -> None:
    create_signing_key(keyring / "a.key", "a")
    create_signing_key(keyring / "b.key", "b")
    a, b = ((keyring / name).read_text().splitlines() for name in ("a.key", "b.key"))
    (keyring / "a.key").write_text("\n".join([*a[:3], b[3], a[4]]) + "\n")
    with pytest.raises(Invalid) as caught:
        load_signing_key(keyring / "a.key")
    assert caught.value.code == "bad_key_file"


@given(position=st.integers(0, 200), byte=st.integers(0, 255))
def test_a_damaged_key_file_never_quotes_its_secret(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int
) -> None:
    path = tmp_path_factory.mktemp("keys") / "keyring" / "holder.key"
    create_signing_key(path, "holder")
    data = bytearray(path.read_bytes())
    secret = bytes(data).split(b"secret: ")[1].strip().decode()
    data[position % len(data)] = byte
    path.write_bytes(data)
    try:
        load_signing_key(path)
    except DutchdoorError as error:
        told = f"{error}{error.hint}{error.__cause__}"
        assert secret[4:-4] not in told


def test_secrets_do_not_print() -> None:
    seed = bytes(range(32))
    seeds = bytes(range(96))
    shown = [
        repr(FileSigner("holder", seed)),
        repr(CustodianKey("a", seeds)),
        repr(ContentKey(seed)),
        str(ContentKey(seed)),
    ]
    for text in shown:
        assert seed.hex()[:8] not in text
        assert "\\x01\\x02" not in text


def test_a_content_key_cannot_be_copied_out_or_kept() -> None:
    key = ContentKey.generate()
    with pytest.raises(AssertionError):
        copy.deepcopy(key)
    key.wipe()
    assert key == ContentKey(bytes(32))


def test_public_lines_come_back(keyring: Path) -> None:
    signer = create_signing_key(keyring / "holder.key", "holder")
    custodian = create_custodian_key(keyring / "a.key", "custodian-a")
    assert parse_public_line(signer.public.line() + "\n") == signer.public
    parsed = parse_public_line(custodian.line())
    assert (parsed.kind, parsed.name) == (KeyKind.CUSTODIAN, "custodian-a")
    assert parsed.data == custodian.public.public_key


@pytest.mark.parametrize(
    "line",
    [
        "",
        "dutchdoor-public-1 ed25519 holder",
        "dutchdoor-public-1 ed25519 holder AAAA",
        "dutchdoor-public-2 ed25519 holder " + "A" * 43 + "=",
        "dutchdoor-public-1 secret holder ",
        "dutchdoor-public-1 rsa holder " + "A" * 43 + "=",
        "dutchdoor-public-1 ed25519 ../x " + "A" * 43 + "=",
        "dutchdoor-public-1 ed25519 holder " + "A" * 42 + "B=",
    ],
)
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(Invalid):
        parse_public_line(line)


@pytest.mark.parametrize("name", ["", "../holder", "a b", "x" * 65, "é", "a\n"])
def test_names_that_could_be_paths_are_refused(keyring: Path, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        create_signing_key(keyring / "x.key", name)
    assert caught.value.code == "bad_key_name"
    assert not (keyring / "x.key").exists()
