"""The vectors still read, still fail as they did, and still come from their seed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from dutchdoor.custody.keyring import CustodianKey
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.shares import combine, unwrap_share
from dutchdoor.errors import DutchdoorError
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.inspect import verify_ciphertext
from dutchdoor.weights.reader import SealedBundle
from tests.weights.make_vectors import VECTORS, check
from tests.weights.parts import read_all

VALUE: dict[str, Any] = json.loads((VECTORS / "vectors.json").read_text())
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
            path.write_bytes(path.read_bytes() + bytes.fromhex(rest[0]))
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


@pytest.mark.parametrize("bad", VALUE["bad"], ids=lambda bad: str(bad["name"]))
def test_each_bad_one_is_refused_for_its_reason(bad: dict[str, Any], tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(GOOD, tmp_path / "bad.sealed"))
    if "edit" in bad:
        edit(bundle, *bad["edit"])
    key = ContentKey(bytes.fromhex(bad.get("content_key", VALUE["content_key"])))
    with pytest.raises(DutchdoorError) as caught:
        read_all(SealedBundle.open(bundle, key, trust_of(bad.get("trust", VALUE["trust"]))))
    assert caught.value.code == bad["code"]
    assert caught.value.hint


def test_the_vectors_come_from_their_seed(tmp_path: Path) -> None:
    check(tmp_path)
