"""Makes `vectors/`: a tiny sealed bundle, its key, and bad ones each with its error code.

    python -m tests.weights.make_vectors            writes them anew
    python -m tests.weights.make_vectors --check    compares the sealed files with those in place

`version-1/` was made by the code of that version and stays as it is: what was sealed then must
still open. All that this format draws at random comes from one seed, so that the sealed files and
the bundle digest come out the same. The wrapped shares do not (HPKE draws its own), nor does what
names them: `shares.json` and the `custody` part of the manifest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from dutchdoor.clock import FixedClock
from dutchdoor.custody.keyring import CustodianKey, FileSigner
from dutchdoor.evidence.statement import key_id
from dutchdoor.weights.format import SUITES, parse_head
from dutchdoor.weights.model import Manifest, SealLimits
from dutchdoor.weights.public import Public
from dutchdoor.weights.seal import seal_folder
from tests.weights.parts import safetensors, write_files
from tests.weights.two_keys import ciphertext_of_two_keys

VECTORS = Path(__file__).parent / "vectors"
SEED = b"dutchdoor sealed bundle vectors 2"
WEIGHTS = "model.safetensors"

FILES = {
    "chat_template.jinja": b"{{ messages[0].content }}",
    "config.json": b'{"hidden_size":4}',
    WEIGHTS: safetensors({"w": ("F32", [2, 2], bytes(range(16)))}),
}


class SeededBytes:
    """SHA-256 in counter mode over a seed: the same bytes on every machine."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._counter = 0

    def __call__(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += hashlib.sha256(self._seed + self._counter.to_bytes(8, "big")).digest()
            self._counter += 1
        return data[:count]


# Three slots, the last one short; made from the seed when it is needed, and kept nowhere.
LARGE = {
    "other": SeededBytes(SEED + b" other")(2_100_000),
    "data": SeededBytes(SEED + b" data")(2_100_000),
}


def holder() -> FileSigner:
    return FileSigner("holder", SeededBytes(SEED + b" holder")(32))


def make_bundle(target: Path, files: dict[str, bytes], seed: bytes) -> str:
    """A bundle of these files, whose sealed files follow from the seed; gives its digest."""
    custodians = [CustodianKey(f"custodian-{n}", seed) for n, seed in enumerate(custodian_seeds())]
    with tempfile.TemporaryDirectory() as plain:
        sealed = seal_folder(
            write_files(Path(plain), files),
            target,
            model="vectors",
            holder=holder(),
            custodians=[custodian.public for custodian in custodians],
            threshold=2,
            clock=FixedClock(),
            public=Public(licence="Apache-2.0"),
            show_tensors=True,
            random_bytes=SeededBytes(seed),
        )
    return sealed.digest


def custodian_seeds() -> list[bytes]:
    return [SeededBytes(SEED + b" custodian %d" % n)(96) for n in range(3)]


def make(folder: Path) -> dict[str, Any]:
    """`good.sealed` and `other.sealed` in `folder`, and what `vectors.json` says of them."""
    good = make_bundle(folder / "good.sealed", FILES, SEED)
    other = make_bundle(folder / "other.sealed", FILES, SEED + b" other bundle")
    with tempfile.TemporaryDirectory() as place:
        large = make_bundle(Path(place) / "large.sealed", LARGE, SEED + b" large")
        bad = bad_slots(Path(place) / "large.sealed")
    public = holder().public_key
    return {
        "about": "test keys: they are public and guard nothing",
        "bundle": good,
        "other_bundle": other,
        "large_bundle": large,
        "content_key": SeededBytes(SEED)(32).hex(),
        "trust": {key_id(public): public.hex()},
        "custodian_seeds": [seed.hex() for seed in custodian_seeds()],
        "files": {name: data.hex() for name, data in FILES.items()},
        "bad": bad_ones(folder / "good.sealed") + bad,
        "two_keys": two_keys(),
    }


def bad_slots(bundle: Path) -> list[dict[str, Any]]:
    """Harms of the large bundle; `move` copies bytes of one file into another, or within it."""
    name, other = "0000.sealed", "0001.sealed"
    header, _ = parse_head((bundle / name).read_bytes()[:65_536])
    places = [header.slot(number) for number in range(header.slots)]
    assert len(places) == 3
    size, code = places[0].size, "slot_changed"
    swap = ["exchange", name, places[0].offset, places[1].offset, size]
    splice = ["move", other, places[1].offset, name, places[1].offset, size]
    repeat = ["move", name, places[0].offset, name, places[1].offset, size]
    cut = ["truncate", name, places[2].offset]
    return [
        {"of": "large", "name": "slots in another order", "code": code, "edit": swap},
        {"of": "large", "name": "slot of another file", "code": code, "edit": splice},
        {"of": "large", "name": "slot twice", "code": code, "edit": repeat},
        {"of": "large", "name": "last slot gone", "code": "size_changed", "edit": cut},
    ]


def two_keys() -> dict[str, str]:
    """A slot that AES-GCM opens under two keys: only a committed key tells them apart."""
    draw = SeededBytes(SEED + b" two keys")
    one, two, nonce, associated = draw(32), draw(32), draw(12), draw(32)
    sealed = ciphertext_of_two_keys((one, two), nonce, associated)
    values = {"key_one": one, "key_two": two, "nonce": nonce, "associated": associated}
    return {name: data.hex() for name, data in {**values, "sealed": sealed}.items()}


def bad_ones(bundle: Path) -> list[dict[str, Any]]:
    """Each harm as an edit of the good bundle, with the code of its refusal."""
    name = "0002.sealed"  # The weights: the last name of three.
    data = (bundle / name).read_bytes()
    header, _ = parse_head(data)
    flips = {
        "magic": (0, "not_sealed"),
        "header": (60, "head_changed"),
        "commitment": (len(header.prefix()), "head_changed"),
        "head padding": (header.head_bytes - 1, "head_changed"),
        "index": (header.index.offset, "index_changed"),
        "slot": (header.slot(0).offset, "slot_changed"),
        "tag": (header.slot(0).end - 1, "slot_changed"),
        "footer": (header.footer.offset, "footer_changed"),
    }
    rows: list[dict[str, Any]] = [
        {"name": f"flipped bit: {what}", "code": code, "edit": ["flip", name, place]}
        for what, (place, code) in flips.items()
    ]
    plain = FILES[WEIGHTS].ljust(len(data), b"\0").hex()
    older = replace(header, version=1)
    head = older.prefix().ljust(header.head_bytes, b"\0").hex()
    largest = SealLimits().manifest_bytes_max
    assert SUITES[1] in older.prefix().decode("latin-1")
    edits = [
        ("truncated", "size_changed", ["truncate", name, len(data) - 1]),
        ("extended", "size_changed", ["append", name, "00"]),
        ("swapped", "size_changed", ["swap", "0000.sealed", name]),
        ("renamed", "file_missing", ["rename", name, "0003.sealed"]),
        ("removed", "file_missing", ["remove", name]),
        ("file of another bundle", "head_changed", ["splice", name]),
        ("manifest of another bundle", "shares_changed", ["splice", "manifest.json"]),
        ("header of version 1", "head_changed", ["put", name, 0, head]),
        ("header too long", "head_changed", ["put", name, 8, "ffffffff"]),
        ("header of no length", "head_changed", ["put", name, 8, "00000000"]),
        ("manifest too long", "size_changed", ["append", "manifest.json", "20" * 16, largest]),
        ("plain beside", "file_unexpected", ["write", WEIGHTS, "00"]),
        ("plain inside", "not_sealed", ["write", name, plain]),
        ("no manifest", "not_sealed", ["remove", "manifest.json"]),
        ("other shares", "shares_changed", ["flip", "shares.json", 300]),
    ]
    rows += [{"name": what, "code": code, "edit": edit} for what, code, edit in edits]
    return [
        *rows,
        {"name": "wrong key", "code": "wrong_key", "content_key": "00" * 32},
        {"name": "unknown holder", "code": "too_few_signatures", "trust": {}},
    ]


def check(folder: Path) -> None:
    """Compares what the seed gives with what lies in `vectors/`."""
    made = make(folder)
    kept = json.loads((VECTORS / "vectors.json").read_text())
    assert made == kept, "vectors.json differs"
    for name in ("good.sealed", "other.sealed"):
        for path in sorted((VECTORS / name).glob("*.sealed")):
            assert path.read_bytes() == (folder / name / path.name).read_bytes(), path.name
    trust = {name: bytes.fromhex(key) for name, key in kept["trust"].items()}
    both = (VECTORS / "good.sealed", folder / "good.sealed")
    one, two = (Manifest.open((p / "manifest.json").read_bytes(), trust) for p in both)
    assert one.content == two.content, "the signed content differs"


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder))
        return
    for name in ("good.sealed", "other.sealed"):
        shutil.rmtree(VECTORS / name, ignore_errors=True)
    text = json.dumps(make(VECTORS), indent=1, sort_keys=True)
    (VECTORS / "vectors.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
