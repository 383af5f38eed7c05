"""What `benchmarks.seal` runs in turns: one loader or sealer at a time, each in a child of its own.

It is started with the interpreter that has the libraries and forks for every case, so that no case
finds the memory, the caches or the threads of another. The peers' interpreter needs nothing of
ours: only torch and the peers.
"""

from __future__ import annotations

import importlib
import json
import mmap
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEY_BYTES = 32
HUGE_BYTES = 1 << 21


def touch(size: int) -> None:
    """Backs so much memory once: a guest's first touch may wait for its host."""
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    for place in range(0, size, HUGE_BYTES):
        memory[place] = 1
    memory.close()


def checksum(tensors: dict[str, Any]) -> int:
    """A sum over every byte: the tensors are the same, and all were there."""
    import torch

    total = 0
    for tensor in tensors.values():
        total += int(tensor.contiguous().view(-1).view(torch.int16).sum(dtype=torch.int64))
    return total


def status(name: str) -> int:
    """A row of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


# Loaders: each gives every tensor by its name, or the one that is named.


def plain_lazy(place: Path, one: str | None) -> dict[str, Any]:
    from safetensors import safe_open
    from safetensors.torch import load_file

    if one is None:
        return dict(load_file(place / "plain/model.safetensors"))
    with safe_open(place / "plain/model.safetensors", "pt") as file:
        return {one: file.get_tensor(one)}


def plain_clone(place: Path, one: str | None) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in plain_lazy(place, one).items()}


def plain_copy(place: Path, one: str | None) -> dict[str, Any]:
    """The best plaintext copy we know: read into huge pages, views of them as tensors."""
    import torch

    handle = os.open(place / "plain/model.safetensors", os.O_RDONLY)
    size = os.fstat(handle).st_size
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    view = memoryview(memory)
    done = 0
    while done < size:
        done += os.preadv(handle, [view[done : done + (8 << 20)]], done)
    os.close(handle)
    start = 8 + int.from_bytes(view[:8], "little")
    found = {}
    for name, row in json.loads(bytes(view[8:start])).items():
        if name != "__metadata__":
            begin, end = row["data_offsets"]
            data = torch.frombuffer(view[start + begin : start + end], dtype=torch.bfloat16)
            found[name] = data.view(row["shape"])
    return found


def sealed(place: Path, one: str | None, **options: Any) -> dict[str, Any]:
    from benchmarks.seal_keys import TRUST, content_key
    from dutchdoor.weights.drop_in import Keys, safe_open
    from dutchdoor.weights.reader import ReadOptions

    keys = Keys(content_key(place / "ours.sealed"), TRUST)
    cpu, wall = time.process_time(), time.perf_counter()
    path = place / "ours.sealed"
    with safe_open(path, keys=keys, options=ReadOptions(**options)) as tensors:
        found = tensors.load() if one is None else {one: tensors.get_tensor(one)}
    # Custody gives the key; what that takes is no part of loading.
    found["cpu_s"] = time.process_time() - cpu
    found["wall_s"] = time.perf_counter() - wall
    return found


def crypto_tensors(place: Path, one: str | None) -> dict[str, Any]:
    cryptotensors = importlib.import_module("cryptotensors")
    keys = json.loads((place / "peer-keys.json").read_text())
    cryptotensors.register_direct_key_provider(keys=keys)
    with cryptotensors.safe_open(place / "crypto.safetensors", framework="pt") as file:
        names = file.offset_keys() if one is None else [one]
        return {name: file.get_tensor(name) for name in names}


def tensorizer_encrypted(place: Path, one: str | None) -> dict[str, Any]:
    tensorizer = importlib.import_module("tensorizer")
    key = bytes.fromhex((place / "tensorizer-key").read_text())
    loader = tensorizer.TensorDeserializer(
        str(place / "model.tensors"),
        device="cpu",
        lazy_load=one is not None,
        num_readers=1,
        encryption=tensorizer.DecryptionParams.from_key(key),
    )
    return {name: loader[name] for name in (loader.keys() if one is None else [one])}


# Sealers.


def save_plain(place: Path) -> None:
    from safetensors.torch import save_file

    _save(place, lambda tensors: save_file(tensors, place / "saved.safetensors"))


def seal_ours(place: Path) -> None:
    from benchmarks.seal_keys import seal

    seal(place / "plain", place / "again.sealed")


def seal_crypto_tensors(place: Path, name: str = "again.safetensors") -> None:
    cryptotensors = importlib.import_module("cryptotensors")
    module = importlib.import_module("cryptotensors.torch")
    encryption, signature = json.loads((place / "peer-keys.json").read_text())
    config = cryptotensors.SerializeCryptoConfig(enc_key=encryption, sign_key=signature)
    _save(place, lambda tensors: module.save_file(tensors, place / name, config=config.to_dict()))


def seal_tensorizer(place: Path, name: str = "again.tensors") -> None:
    tensorizer = importlib.import_module("tensorizer")
    key = bytes.fromhex((place / "tensorizer-key").read_text())

    def save(tensors: dict[str, Any]) -> None:
        params = tensorizer.EncryptionParams(key)
        writer = tensorizer.TensorSerializer(str(place / name), encryption=params)
        writer.write_state_dict(tensors)
        writer.close()

    _save(place, save)


_saving: dict[str, float] = {}


def _save(place: Path, save: Callable[[dict[str, Any]], object]) -> None:
    tensors = plain_clone(place, None)
    cpu, wall = time.process_time(), time.perf_counter()
    save(tensors)
    _saving.update(cpu_s=time.process_time() - cpu, wall_s=time.perf_counter() - wall)


def make_peer_keys(place: Path) -> None:
    """Throw-away keys in the form that the peers take."""
    import base64

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signer = Ed25519PrivateKey.generate()

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    keys = [
        {"kty": "oct", "alg": "aes256gcm", "kid": "e", "k": text(os.urandom(KEY_BYTES))},
        {
            "kty": "okp",
            "alg": "ed25519",
            "kid": "s",
            "d": text(signer.private_bytes_raw()),
            "x": text(signer.public_key().public_bytes_raw()),
        },
    ]
    (place / "peer-keys.json").write_text(json.dumps(keys))
    (place / "tensorizer-key").write_text(os.urandom(KEY_BYTES).hex())


LOADERS: dict[str, Callable[..., dict[str, Any]]] = {
    "plain_lazy": plain_lazy,
    "plain_clone": plain_clone,
    "plain_copy": plain_copy,
    "sealed": sealed,
    "sealed_threads": lambda place, one: sealed(place, one, threads=2),
    "sealed_private": lambda place, one: sealed(place, one, private_copies=True),
    "crypto_tensors": crypto_tensors,
    "tensorizer": tensorizer_encrypted,
}
SEALERS: dict[str, Callable[..., None]] = {
    "save_plain": save_plain,
    "seal_ours": seal_ours,
    "seal_crypto_tensors": seal_crypto_tensors,
    "seal_tensorizer": seal_tensorizer,
}


def reused(place: Path) -> dict[str, Any]:
    """Ours into memory that an earlier load has touched."""
    from dutchdoor.weights.arena import ArenaPool

    pool = ArenaPool()
    sealed(place, None, arenas=pool)
    return sealed(place, None, arenas=pool)


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """CPU and wall seconds, and memory beyond what the process held before, in bytes."""
    place, case, one = Path(job["place"]), job["case"], job.get("tensor")
    if case in SEALERS:
        cpu, wall = time.process_time(), time.perf_counter()
        SEALERS[case](place, *job.get("arguments", []))
        figures = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
        return {**figures, **_saving}
    touch(job["touch"])
    Path("/proc/self/clear_refs").write_text("5")  # The peak is counted from here.
    before = {name: status(name) for name in ("VmRSS", "RssAnon")}
    cpu, wall = time.process_time(), time.perf_counter()
    tensors = reused(place) if case == "sealed_reused" else LOADERS[case](place, one)
    figures = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    figures["peak_bytes"] = status("VmHWM") - before["VmRSS"]
    figures["anonymous_bytes"] = status("RssAnon") - before["RssAnon"]
    figures |= {name: tensors.pop(name) for name in list(figures) if name in tensors}
    first = time.process_time()
    figures["checksum"] = checksum(tensors)
    figures["read_cpu_s"] = time.process_time() - first
    return figures


def main() -> None:
    """Answers jobs, one line of JSON each, until the input ends."""
    import torch

    torch.set_num_threads(1)
    random.seed(0)
    missing = []
    for name in sys.argv[1:]:
        try:
            importlib.import_module(name)
        except Exception as error:
            missing.append(f"{name} ({type(error).__name__})")
    print(json.dumps({"missing": missing}), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        if job.get("make_keys"):
            make_peer_keys(Path(job["place"]))
            print("{}", flush=True)
            continue
        child = os.fork()
        if child == 0:
            try:
                print(json.dumps(measure(job)), flush=True)
            except BaseException as error:
                print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
