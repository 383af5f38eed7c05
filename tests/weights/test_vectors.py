"""The vectors still read, still fail as they did, and still come from their seed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dutchdoor.custody.keyring import CustodianKey
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.shares import combine, unwrap_share
from dutchdoor.errors import DutchdoorError
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.inspect import verify_ciphertext
from dutchdoor.weights.public import PublicTensor
from dutchdoor.weights.reader import SealedBundle
from tests.weights.make_vectors import LARGE, SEED, VECTORS, SeededBytes, check, make_bundle
from tests.weights.parts import read_all

VALUE: dict[str, Any] = json.loads((VECTORS / "vectors.json").read_text())
FORMER: dict[str, Any] = json.loads((VECTORS / "version-1" / "vectors.json").read_text())
GOOD = VECTORS / "good.sealed"


def trust_of(value: dict[str, str]) -> dict[str, bytes]:
    return {name: bytes.fromhex(key) for name, key in value.items()}


TRUST = trust_of(VALUE["trust"])
KEY = ContentKey(bytes.fromhex(VALUE["content_key"]))


def edit(bundle: Path, kind: str, name: str, *rest: Any) -> None:
    path = bundle / name
    match kind:
        case "flip":
            data = bytearray(path.read_bytes())
            data[rest[0]] ^= 1
            path.write_bytes(data)
        case "truncate":
            path.write_bytes(path.read_bytes()[: rest[0]])
        case "append":
            more = bytes.fromhex(rest[0])
            path.write_bytes(path.read_bytes() + more * (rest[1] // len(more) if rest[1:] else 1))
        case "put":
            data, new = bytearray(path.read_bytes()), bytes.fromhex(rest[1])
            data[rest[0] : rest[0] + len(new)] = new
            path.write_bytes(data)
        case "splice":
            shutil.copy(VECTORS / "other.sealed" / name, path)
        case "exchange":
            one, two, size = rest
            data = bytearray(path.read_bytes())
            first, second = data[one : one + size], data[two : two + size]
            data[one : one + size], data[two : two + size] = second, first
            path.write_bytes(data)
        case "move":
            start, other, place, size = rest
            data = bytearray((bundle / other).read_bytes())
            data[place : place + size] = path.read_bytes()[start : start + size]
            (bundle / other).write_bytes(data)
        case "swap":
            one, two = path.read_bytes(), (bundle / rest[0]).read_bytes()
            path.write_bytes(two)
            (bundle / rest[0]).write_bytes(one)
        case "rename":
            path.rename(bundle / rest[0])
        case "remove":
            path.unlink()
        case "write":
            path.write_bytes(bytes.fromhex(rest[0]))
        case _:
            pytest.fail(f"no such edit: {kind}")


def test_the_good_bundle_reads() -> None:
    assert verify_ciphertext(GOOD, TRUST) == ()
    bundle = SealedBundle.open(GOOD, KEY, TRUST)
    assert bundle.digest == VALUE["bundle"]
    assert read_all(bundle) == {n: bytes.fromhex(data) for n, data in VALUE["files"].items()}


def test_any_two_custodians_have_its_key() -> None:
    folder = open_folder(GOOD, TRUST)
    seeds = [bytes.fromhex(seed) for seed in VALUE["custodian_seeds"]]
    keys = [CustodianKey(f"custodian-{n}", seed) for n, seed in enumerate(seeds)]
    shares = [unwrap_share(folder.shares, key) for key in keys]
    for left_out in range(3):
        chosen = [share for n, share in enumerate(shares) if n != left_out]
        assert combine(chosen, folder.manifest.content.commitment) == KEY


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "large.sealed"
    assert make_bundle(path, LARGE, SEED + b" large") == VALUE["large_bundle"]
    return path


@pytest.mark.parametrize("bad", VALUE["bad"], ids=lambda bad: str(bad["name"]))
def test_each_bad_one_is_refused_for_its_reason(
    bad: dict[str, Any], large: Path, tmp_path: Path
) -> None:
    source = large if bad.get("of") == "large" else GOOD
    known = SeededBytes(SEED + b" large")(32).hex() if source is large else VALUE["content_key"]
    bundle = Path(shutil.copytree(source, tmp_path / "bad.sealed"))
    if "edit" in bad:
        edit(bundle, *bad["edit"])
    key = ContentKey(bytes.fromhex(bad.get("content_key", known)))
    with pytest.raises(DutchdoorError) as caught:
        read_all(SealedBundle.open(bundle, key, trust_of(bad.get("trust", VALUE["trust"]))))
    assert caught.value.code == bad["code"]
    assert caught.value.hint


def test_aes_gcm_alone_opens_one_slot_under_two_keys() -> None:
    """Why the key is committed to: `test_format` shows the reader refusing such a slot."""
    row = {name: bytes.fromhex(text) for name, text in VALUE["two_keys"].items()}
    plain = {
        AESGCM(row[name]).decrypt(row["nonce"], row["sealed"], row["associated"])
        for name in ("key_one", "key_two")
    }
    assert len(plain) == 2


def test_what_anybody_sees_is_signed_and_true() -> None:
    manifest = open_folder(GOOD, TRUST).manifest
    assert manifest.content.version == 2
    assert manifest.content.public.licence == "Apache-2.0"
    assert manifest.content.public.tensors == (PublicTensor("w", "F32", (2, 2)),)
    assert manifest.content.public.parameters == 4


def test_a_bundle_of_version_1_still_reads() -> None:
    path, trust = VECTORS / "version-1" / "good.sealed", trust_of(FORMER["trust"])
    assert verify_ciphertext(path, trust) == ()
    key = ContentKey(bytes.fromhex(FORMER["content_key"]))
    bundle = SealedBundle.open(path, key, trust)
    assert bundle.digest == FORMER["bundle"]
    assert bundle.manifest.content.version == 1
    assert read_all(bundle) == {n: bytes.fromhex(data) for n, data in FORMER["files"].items()}


@pytest.mark.parametrize("bad", FORMER["bad"], ids=lambda bad: str(bad["name"]))
def test_bad_ones_of_version_1_are_still_refused(bad: dict[str, Any], tmp_path: Path) -> None:
    path = VECTORS / "version-1" / "good.sealed"
    bundle = Path(shutil.copytree(path, tmp_path / "bad.sealed"))
    if "edit" in bad:
        edit(bundle, *bad["edit"])
    key = ContentKey(bytes.fromhex(bad.get("content_key", FORMER["content_key"])))
    with pytest.raises(DutchdoorError) as caught:
        read_all(SealedBundle.open(bundle, key, trust_of(bad.get("trust", FORMER["trust"]))))
    assert caught.value.code == bad["code"]


def test_the_vectors_come_from_their_seed(tmp_path: Path) -> None:
    check(tmp_path)
