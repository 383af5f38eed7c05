"""How fast is a durable entry? Ours beside SQLite (WAL, FULL) and a bare file with fdatasync.

    python -m benchmarks.evidence_log [--quick] [--json FILE]

Each of the three makes every batch durable before it answers. Ours also hashes the Merkle tree and
signs a checkpoint, which the two others do not. The entries are alike: 300 bytes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Options, options, report, take_turns
from dutchdoor.clock import SystemClock
from dutchdoor.custody.keyring import create_signing_key
from dutchdoor.evidence.log import Log
from dutchdoor.evidence.model import Entry, EntryKind

PADDING = "x" * 120


def entry(number: int) -> Entry:
    """An entry of about 300 bytes."""
    body = {"inference": f"inf_{number:026d}", "person": f"person_{number:026d}", "note": PADDING}
    return Entry(EntryKind.INFERENCE_DONE, number, body)


def run_ours(folder: Path, batch: int, batches: int) -> float:
    signer = create_signing_key(folder / "keys" / "log.key", "log")
    log = Log.create(folder / "log", signer, "bench.example/log", SystemClock())
    chunks = [[entry(b * batch + n) for n in range(batch)] for b in range(batches)]
    started = time.perf_counter()
    for chunk in chunks:
        log.append(chunk)
    return batch * batches / (time.perf_counter() - started)


def run_sqlite(folder: Path, batch: int, batches: int) -> float:
    connection = sqlite3.connect(folder / "log.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE entry (number INTEGER PRIMARY KEY, data BLOB)")
    chunks = [[(entry(b * batch + n).encode(),) for n in range(batch)] for b in range(batches)]
    started = time.perf_counter()
    for chunk in chunks:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO entry (data) VALUES (?)", chunk)
        connection.execute("COMMIT")
    rate = batch * batches / (time.perf_counter() - started)
    connection.close()
    return rate


def run_file(folder: Path, batch: int, batches: int) -> float:
    handle = os.open(folder / "log.bin", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    chunks = [b"".join(entry(b * batch + n).encode() for n in range(batch)) for b in range(batches)]
    started = time.perf_counter()
    for chunk in chunks:
        os.write(handle, chunk)
        os.fdatasync(handle)
    rate = batch * batches / (time.perf_counter() - started)
    os.close(handle)
    return rate


Runner = Callable[[Path, int, int], float]


def in_fresh_folder(runner: Runner, batch: int, batches: int) -> Callable[[], float]:
    """`runner` in an empty folder, removed afterwards."""

    def run() -> float:
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            return runner(folder, batch, batches)
        finally:
            shutil.rmtree(folder)

    return run


def main(chosen: Options) -> None:
    """Run and print."""
    rounds = 3 if chosen.quick else 9
    for batch, batches in ((1, 200), (64, 50), (1024, 8)):
        runners = {
            "dutchdoor log": in_fresh_folder(run_ours, batch, batches),
            "SQLite WAL FULL": in_fresh_folder(run_sqlite, batch, batches),
            "bare file + fdatasync": in_fresh_folder(run_file, batch, batches),
        }
        figures = take_turns(runners, rounds)
        report(
            f"durable entries, batches of {batch}", "entries/s", figures, "dutchdoor log", chosen
        )


if __name__ == "__main__":
    main(options(__doc__.splitlines()[0]))
