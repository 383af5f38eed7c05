"""Makes `vectors/`: a tiny sealed bundle, its key, and bad ones each with its error code.

    python -m tests.weights.make_vectors            writes them anew
    python -m tests.weights.make_vectors --check    compares the sealed files with those in place

All that this format draws at random comes from one seed, so that the sealed files and the bundle
digest come out the same. The wrapped shares do not (HPKE draws its own), nor does what names
them: `shares.json` and the `custody` part of the manifest.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from dutchdoor.clock import FixedClock
from dutchdoor.custody.keyring import CustodianKey, FileSigner
from dutchdoor.evidence.statement import key_id
from dutchdoor.weights.format import parse_head
from dutchdoor.weights.model import Manifest
from dutchdoor.weights.seal import seal_folder
from tests.weights.parts import safetensors, write_files

VECTORS = Path(__file__).parent / "vectors"
SEED = b"dutchdoor sealed bundle vectors 1"
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


def make(folder: Path) -> dict[str, Any]:
    """The good bundle at `folder/good.sealed`, and what `vectors.json` says of it."""
    holder_seed = SeededBytes(SEED + b" holder")(32)
    holder = FileSigner("holder", holder_seed)
    seeds = [SeededBytes(SEED + b" custodian %d" % n)(96) for n in range(3)]
    custodians = [CustodianKey(f"custodian-{n}", seed) for n, seed in enumerate(seeds)]
    with tempfile.TemporaryDirectory() as plain:
        sealed = seal_folder(
            write_files(Path(plain), FILES),
            folder / "good.sealed",
            model="vectors",
            holder=holder,
            custodians=[custodian.public for custodian in custodians],
            threshold=2,
            clock=FixedClock(),
            random_bytes=SeededBytes(SEED),
        )
    return {
        "about": "test keys: they are public and guard nothing",
        "bundle": sealed.digest,
        "content_key": SeededBytes(SEED)(32).hex(),
        "trust": {key_id(holder.public_key): holder.public_key.hex()},
        "custodian_seeds": [seed.hex() for seed in seeds],
        "files": {name: data.hex() for name, data in FILES.items()},
        "bad": bad_ones(folder / "good.sealed"),
    }


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
    return [
        *rows,
        {"name": "truncated", "code": "size_changed", "edit": ["truncate", name, len(data) - 1]},
        {"name": "extended", "code": "size_changed", "edit": ["append", name, "00"]},
        {"name": "swapped", "code": "size_changed", "edit": ["swap", "0000.sealed", name]},
        {"name": "renamed", "code": "file_missing", "edit": ["rename", name, "0003.sealed"]},
        {"name": "removed", "code": "file_missing", "edit": ["remove", name]},
        {"name": "plain beside", "code": "file_unexpected", "edit": ["write", WEIGHTS, "00"]},
        {"name": "plain inside", "code": "not_sealed", "edit": ["write", name, plain]},
        {"name": "no manifest", "code": "not_sealed", "edit": ["remove", "manifest.json"]},
        {"name": "other shares", "code": "shares_changed", "edit": ["flip", "shares.json", 300]},
        {"name": "wrong key", "code": "wrong_key", "content_key": "00" * 32},
        {"name": "unknown holder", "code": "too_few_signatures", "trust": {}},
    ]


def check(folder: Path) -> None:
    """Compares what the seed gives with what lies in `vectors/`."""
    made = make(folder)
    kept = json.loads((VECTORS / "vectors.json").read_text())
    assert made == kept, "vectors.json differs"
    for path in sorted((VECTORS / "good.sealed").glob("*.sealed")):
        assert path.read_bytes() == (folder / "good.sealed" / path.name).read_bytes(), path.name
    trust = {name: bytes.fromhex(key) for name, key in kept["trust"].items()}
    both = (VECTORS / "good.sealed", folder / "good.sealed")
    one, two = (Manifest.open((p / "manifest.json").read_bytes(), trust) for p in both)
    assert one.content == two.content, "the signed content differs"


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder))
        return
    shutil.rmtree(VECTORS, ignore_errors=True)
    VECTORS.mkdir()
    text = json.dumps(make(VECTORS), indent=1, sort_keys=True)
    (VECTORS / "vectors.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
