"""Real parts for the tests of weights: a small model folder, sealed and opened by its quorum."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from dutchdoor.clock import FixedClock
from dutchdoor.custody.keyring import CustodianKey, FileSigner
from dutchdoor.custody.model import ContentKey
from dutchdoor.custody.shares import combine, unwrap_share
from dutchdoor.evidence.statement import key_id
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.model import MANIFEST_NAME, Content, Manifest
from dutchdoor.weights.reader import SealedBundle
from dutchdoor.weights.seal import seal_folder

HOLDER = FileSigner("holder", bytes(range(32)))
TRUST = {key_id(HOLDER.public_key): HOLDER.public_key}
CUSTODIANS = [CustodianKey(f"custodian-{n}", bytes([n + 1]) * 96) for n in range(3)]

WEIGHT_BYTES = 2_300_000  # Three slots, the last one short.


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]]) -> bytes:
    """A safetensors file of these tensors: type, shape, bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name, (dtype, shape, data) in tensors.items():
        offsets = [position, position + len(data)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        position += len(data)
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    body = b"".join(data for _, _, data in tensors.values())
    return len(text).to_bytes(8, "little") + text + body


def plain_files(weight_bytes: int = WEIGHT_BYTES) -> dict[str, bytes]:
    """A model's files: incompressible weights in two shards, and what else determines it."""
    seeded = random.Random(7)  # Not secret: the same model in each test run.
    first, second = seeded.randbytes(weight_bytes), seeded.randbytes(3000)
    return {
        "model-00001-of-00002.safetensors": safetensors(
            {"embed.weight": ("BF16", [weight_bytes // 2], first)}
        ),
        "model-00002-of-00002.safetensors": safetensors(
            {"head.weight": ("F32", [25, 30], second), "head.scale": ("F32", [], b"\0\0\x80?")}
        ),
        "config.json": b'{"architectures":["LlamaForCausalLM"],"hidden_size":576}',
        "tokenizer.json": b'{"version":"1.0","model":{"type":"BPE"}}' * 40,
        "chat_template.jinja": "{% for m in messages %}{{ m.content }}{% endfor %}ü".encode(),
        "generation_config.json": b'{"do_sample":true}',
        "1_Pooling/config.json": b"{}",
        "empty.txt": b"",
    }


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@dataclass(frozen=True)
class Sealed:
    """A sealed bundle with its key, as the quorum opened it, and the plain files it holds."""

    path: Path
    manifest: Manifest
    key: ContentKey
    files: dict[str, bytes]

    def open(self, path: Path | None = None) -> SealedBundle:
        return SealedBundle.open(path or self.path, self.key, TRUST)

    def copy(self, folder: Path) -> Path:
        """A copy to do harm to."""
        return Path(shutil.copytree(self.path, folder / "copy.sealed"))

    def file_of(self, name: str) -> str:
        """Which sealed file holds the plain file `name`."""
        return self.manifest.content.files[sorted(self.files).index(name)].name


def seal(folder: Path, files: dict[str, bytes], name: str = "model") -> Sealed:
    source = write_files(folder / f"{name}-plain", files)
    target = folder / f"{name}.sealed"
    result = seal_folder(
        source,
        target,
        model=name,
        holder=HOLDER,
        custodians=[custodian.public for custodian in CUSTODIANS],
        threshold=2,
        clock=FixedClock(),
    )
    shutil.rmtree(source)
    return Sealed(target, result.manifest, key_of(target), files)


def key_of(bundle: Path) -> ContentKey:
    """The content key, from two custodians' shares."""
    folder = open_folder(bundle, TRUST)
    shares = [unwrap_share(folder.shares, custodian) for custodian in CUSTODIANS[:2]]
    return combine(shares, folder.manifest.content.commitment)


def sign_again(bundle: Path, content: Content, manifest: Manifest) -> None:
    """What a holder who turned against the readers can do: sign other content."""
    changed = Manifest(content, manifest.custody, manifest.created_ms)
    (bundle / MANIFEST_NAME).write_bytes(changed.sign(HOLDER))


def read_all(bundle: SealedBundle) -> dict[str, bytes]:
    """Every plain file, read and compared by the caller."""
    with bundle:
        return {name: bytes(bundle.read(name)) for name in bundle.names()}
