"""Fuzzes the parsers, guided by coverage where atheris is installed, and keeps what is interesting.

    python -m tests.fuzz.run --seconds 600              # all targets, the time shared among them
    python -m tests.fuzz.run --seconds 60 --target head

Atheris (libFuzzer for Python) is no dependency: make an environment that has it beside this
project's packages. Without it the same changes are tried at random. A finding ends the run with the
input printed in base64: put it into `corpus/TARGET.txt`, mend the parser, run the tests.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.corpus_files import load, save
from tests.fuzz.mutate import mutate

__all__ = ["main"]

UNIT_S_MAX = 10


def one(name: str, data: bytes) -> None:
    """One input to one target. Prints the input where something else than our error comes out."""
    from dutchdoor.errors import DutchdoorError
    from tests.fuzz.targets import TARGETS

    try:
        TARGETS[name].run(data)
    except DutchdoorError:
        return
    except BaseException:
        print(f"FINDING in {name}: {base64.b64encode(data).decode()}", flush=True)
        raise


def at_random(name: str, seconds: float, seed: int) -> int:
    """Changes of seeds and kept inputs for so long; how many were tried."""
    from tests.fuzz.targets import TARGETS

    random, tried = Random(seed), 0
    pool = [*TARGETS[name].seeds(), *load(name)]
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        data = mutate(random.choice(pool), random)
        one(name, data)
        tried += 1
    return tried


def guided(name: str, seconds: int, folder: Path) -> None:
    """Run libFuzzer on one target in this process, which ends with it; it fills `folder`."""
    atheris: Any = importlib.import_module("atheris")

    with atheris.instrument_imports(include=["dutchdoor"]):
        from tests.fuzz.targets import TARGETS

    def change(data: bytes, size_max: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.3:
            return bytes(atheris.Mutate(data, size_max))
        return mutate(data, random)[:size_max]

    for number, data in enumerate([*TARGETS[name].seeds(), *load(name)]):
        (folder / f"seed{number}").write_bytes(data)
    options = [f"-max_total_time={seconds}", "-max_len=65536", f"-timeout={UNIT_S_MAX}"]
    options += ["-rss_limit_mb=2048", "-verbosity=0", "-print_final_stats=1", str(folder)]
    options += [f"-artifact_prefix={folder}.found-"]
    atheris.Setup([sys.argv[0], *options], lambda data: one(name, data), custom_mutator=change)
    atheris.Fuzz()


def _guided_elsewhere(name: str, seconds: int) -> bool:
    """Whether libFuzzer, in a process of its own, found nothing; what it reached is kept."""
    with tempfile.TemporaryDirectory(prefix="dutchdoor-fuzz-") as folder:
        command = [sys.executable, "-m", "tests.fuzz.run", "--target", name]
        command += ["--seconds", str(seconds), "--folder", folder]
        done = subprocess.run(command, check=False).returncode == 0
        inputs = [path.read_bytes() for path in Path(folder).iterdir()]
        kept = save(name, inputs)
        print(f"{name}: {len(inputs)} inputs reached something new, {kept} kept", flush=True)
    return done


def main() -> None:
    """Fuzz."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--target", default="")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.folder is not None:
        guided(given.target, given.seconds, given.folder)
        return
    from tests.fuzz.targets import TARGETS

    names = [given.target] if given.target else sorted(TARGETS)
    share, failed = max(1, given.seconds // len(names)), []
    is_guided = importlib.util.find_spec("atheris") is not None
    for name in names:
        if not is_guided:
            print(
                f"{name}: {at_random(name, share, int(time.time()))} inputs at random", flush=True
            )
        elif not _guided_elsewhere(name, share):
            failed.append(name)
    print(f"{len(names)} targets, {len(names) * share} seconds, findings in: {failed or 'none'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
