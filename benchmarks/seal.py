"""What sealed weights cost beside plain ones and beside other encrypted formats, in one run.

    python -m benchmarks.seal [--quick] [--json FILE] [--peers PYTHON] [--model DIR] [--write]

Load everything, load one tensor, seal, and a cold load; CPU seconds (all threads, user and system),
the 25th percentile of the rounds, in turns; wall seconds, the best. Before each load, memory is
touched and given back; before each run, files are written through, dropped and read again, so that
none is fragmented in the page cache. Memory is counted beyond what the process held before.

--model: a folder with one model.safetensors of bfloat16; without it a Llama-shaped checkpoint of
0.97 GB (--quick: 0.27 GB) is made of random numbers. --write: the tables go into
docs/concepts/sealing.md. --peers: the Python of an environment of their own:

    python -m venv peers
    peers/bin/pip install torch numpy safetensors cryptography
    peers/bin/pip install cryptotensors==0.2.3 tensorizer==2.12.1

Without it, or where one is missing, the tables say so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.harness import Options, keep, table
from benchmarks.seal_keys import seal
from benchmarks.seal_page import write_page

ROOT = Path(__file__).parent.parent
CHILD = Path(__file__).parent / "seal_child.py"
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "THP_MEM_ALLOC_ENABLE": "1"}
OURS = ("benchmarks.seal_keys", "dutchdoor.weights.drop_in", "safetensors.torch")
PEERS = ("cryptotensors", "tensorizer")

# Name in the tables, case of the child, which interpreter.
LOADS = [
    ("dutchdoor, fresh memory", "sealed", "ours"),
    ("dutchdoor, fresh memory, 2 threads", "sealed_threads", "ours"),
    ("dutchdoor, reused memory", "sealed_reused", "ours"),
    ("dutchdoor, private copies", "sealed_private", "ours"),
    ("plain: safetensors load_file, lazy", "plain_lazy", "ours"),
    ("plain: load_file and clone", "plain_clone", "ours"),
    ("plain: best copy (read into huge pages)", "plain_copy", "ours"),
    ("CryptoTensors", "crypto_tensors", "peers"),
    ("CryptoTensors, allocator with huge pages", "crypto_tensors", "huge"),
    ("tensorizer, encrypted", "tensorizer", "peers"),
]
TENSORS = [
    ("dutchdoor", "sealed", "ours"),
    ("plain: safetensors", "plain_lazy", "ours"),
    ("CryptoTensors", "crypto_tensors", "peers"),
    ("tensorizer, encrypted", "tensorizer", "peers"),
]
SEALS = [
    ("dutchdoor, durable", "seal_ours", "ours"),
    ("plain: safetensors save_file", "save_plain", "ours"),
    ("CryptoTensors", "seal_crypto_tensors", "peers"),
    ("tensorizer, encrypted", "seal_tensorizer", "peers"),
]


class Server:
    """A child process with its libraries loaded, that forks for every job."""

    def __init__(self, python: str, wanted: tuple[str, ...], extra: dict[str, str]) -> None:
        paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **extra}
        self._process = subprocess.Popen(
            [python, str(CHILD), *wanted],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        self.missing: list[str] = self._answer()["missing"]

    def run(self, **job: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({k: v for k, v in job.items() if v is not None}))
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        value = json.loads(line) if line else {"missing": ["torch"], "error": "the child ended"}
        assert isinstance(value, dict)
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@dataclass
class Run:
    """One run: where the files are, who answers, what has been measured."""

    place: Path
    servers: dict[str, Server]
    rounds: int
    size: int
    missing: dict[str, str] = field(default_factory=dict)
    seconds: float = float("inf")

    def section(
        self,
        rows: list[tuple[str, str, str]],
        share: float,
        tensor: str | None = None,
        *,
        cleans: bool = False,
    ) -> dict[str, list[dict[str, Any]]]:
        """Figures of each row over the rounds, in an order shuffled anew each round.

        share: of the seconds there are; at least two rounds are run.
        """
        figures: dict[str, list[dict[str, Any]]] = {name: [] for name, _, _ in rows}
        order = random.Random(1)
        end = time.monotonic() + share * self.seconds
        for number in range(self.rounds):
            if number >= 2 and time.monotonic() > end:
                break
            for name, case, where in order.sample(rows, len(rows)):
                if where not in self.servers or name in self.missing:
                    continue
                touch = int(1.1 * self.size) if tensor is None else 64 << 20
                found = self.servers[where].run(
                    place=str(self.place), case=case, tensor=tensor, touch=touch
                )
                if "error" in found:
                    self.missing[name] = found["error"]
                    continue
                figures[name].append(found)
                if cleans:
                    self._clean()
        return figures

    def _clean(self) -> None:
        for path in [*self.place.glob("again.*"), self.place / "saved.safetensors"]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def main() -> None:
    arguments = parse()
    chosen = Options(arguments.quick, arguments.json)
    with tempfile.TemporaryDirectory(dir=arguments.place, ignore_cleanup_errors=True) as folder:
        result = measure(Path(folder), arguments)
    for title, rows in result["tables"].items():
        table(title, rows[0], rows[1:])
    for name, why in result["missing"].items():
        print(f"missing: {name}: {why}")
    whole = keep(result, chosen, ("dutchdoor", "cryptography", "blake3", "torch", "safetensors"))
    if arguments.write:
        write_page(whole)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, for a look")
    parser.add_argument("--json", type=Path, metavar="FILE", nargs="?", const=Path("-"))
    parser.add_argument("--peers", metavar="PYTHON", help="of an environment with the peers")
    parser.add_argument("--model", type=Path, help="a folder with model.safetensors in bfloat16")
    parser.add_argument("--place", type=Path, help="where there is room for five copies")
    parser.add_argument("--rounds", type=int, help="of each case; 9, with --quick 3")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for all rounds")
    parser.add_argument("--write", action="store_true", help="into docs/concepts/sealing.md")
    return parser.parse_args()


def measure(place: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Every table of one checkpoint."""
    from benchmarks.seal_page import tables

    make_checkpoint(place / "plain", arguments.model, 75 if arguments.quick else 291)
    size = (place / "plain/model.safetensors").stat().st_size
    seal(place / "plain", place / "ours.sealed")
    rounds = arguments.rounds or (3 if arguments.quick else 9)
    with Server(sys.executable, OURS, {}) as ours:
        servers, missing = {"ours": ours}, {}
        if arguments.peers is None:
            missing = dict.fromkeys(PEERS, "no --peers: not measured")
            return _measure(Run(place, servers, rounds, size, missing, arguments.seconds), tables)
        with (
            Server(arguments.peers, PEERS, {}) as peers,
            Server(arguments.peers, PEERS, HUGE_PAGES) as huge,
        ):
            servers |= {"peers": peers, "huge": huge}
            missing = dict.fromkeys(peers.missing, "not in the peers' environment")
            peers.run(make_keys=True, place=str(place))
            for case, name in (
                ("seal_crypto_tensors", "crypto.safetensors"),
                ("seal_tensorizer", "model.tensors"),
            ):
                peers.run(place=str(place), case=case, arguments=[name])
            return _measure(Run(place, servers, rounds, size, missing, arguments.seconds), tables)


def _measure(run: Run, tables: Any) -> dict[str, Any]:
    read_again(run.place)
    one = pick_tensor(run.place / "plain/model.safetensors")
    loads = run.section(LOADS, 0.5)
    sums = {row["checksum"] for rows in loads.values() for row in rows}
    assert len(sums) <= 1, "the loaders gave different tensors"
    tensors = run.section(TENSORS, 0.1, one)
    seals = run.section(SEALS, 0.3, cleans=True)
    figures = {"load": loads, "tensor": tensors, "seal": seals, "cold": cold(run)}
    return {
        "title": "sealed weights",
        "bytes": run.size,
        "rounds": {title: len(next(iter(rows.values()))) for title, rows in figures.items()},
        "tensor": one,
        "missing": run.missing,
        "figures": figures,
        "tables": tables(figures, run.size),
    }


def cold(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Wall seconds from a disk: reading alone, ours, plain and read."""
    found: dict[str, list[dict[str, Any]]] = {"read": [], "ours": [], "plain": []}
    end = time.monotonic() + 0.1 * run.seconds
    for number in range(min(run.rounds, 4)):
        if number >= 2 and time.monotonic() > end:
            break
        for name, rows in found.items():
            files = [p for p in run.place.rglob("*") if p.is_file() and p.stat().st_size > 1 << 20]
            for path in files:
                drop(path)
            if name == "read":
                rows.append({"wall_s": read_alone(run.place / "plain/model.safetensors")})
                continue
            case = "sealed" if name == "ours" else "plain_lazy"
            row = run.servers["ours"].run(
                place=str(run.place), case=case, touch=int(1.1 * run.size)
            )
            wall = row["wall_s"] + (row["read_cpu_s"] if name == "plain" else 0)
            rows.append({"wall_s": wall})
    return found


def read_alone(path: Path) -> float:
    handle = os.open(path, os.O_RDONLY)
    buffer = bytearray(4 << 20)
    started = time.perf_counter()
    while os.readv(handle, [buffer]):
        pass
    wall = time.perf_counter() - started
    os.close(handle)
    return wall


def drop(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def read_again(place: Path) -> None:
    """Written through, dropped and read once: large folios in the page cache, for all alike."""
    for path in place.rglob("*"):
        if path.is_file():
            drop(path)
            read_alone(path)


def pick_tensor(path: Path) -> str:
    """The tensor next to 6 MB."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)

    def distance(name: str) -> int:
        begin, end = map(int, header[name]["data_offsets"])
        return abs(end - begin - 6_000_000)

    return str(min(sorted(header), key=distance))


def make_checkpoint(folder: Path, model: Path | None, tensors: int) -> None:
    """A model of the caller's, or a Llama-shaped one of random bytes."""
    folder.mkdir()
    (folder / "config.json").write_text('{"hidden_size": 2048}')
    if model is not None:
        shutil.copyfile(model / "model.safetensors", folder / "model.safetensors")
        return
    rows, position = {}, 0
    shapes = [[1, 2048], [1024, 1472], [1472, 1472], [2048, 1472]]
    for number in range(tensors):
        shape = shapes[number % len(shapes)]
        size = 2 * shape[0] * shape[1]
        rows[f"model.layers.{number // 9}.part{number % 9}.weight"] = {
            "dtype": "BF16",
            "shape": shape,
            "data_offsets": [position, position + size],
        }
        position += size
    text = json.dumps(rows).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        left = position
        while left:
            left -= file.write(os.urandom(min(left, 1 << 22)))


if __name__ == "__main__":
    main()
