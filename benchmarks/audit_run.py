"""How long every automatic test of an audit takes on this machine: `dutchdoor audit run --all`.

A fresh workspace with the example model, by the command line alone, as anybody would do it. The
times of the parts are taken from the progress that the command tells. `--quick` runs the short set
with few samples.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Options, keep, options, table

DUTCHDOOR = (sys.executable, "-m", "dutchdoor.cli.main")
GRANT = ("--depth", "sampling,decoding_control,logprobs,activations,audit", "--observe")
BUDGET = ("--at-once", "8", "--requests", "20000", "--tokens", "5000000", "--vectors", "64")
QUICK = ("--set", "short", "--limit", "4", "--examples", "200")


def run(folder: Path, *words: str) -> str:
    """One command in `folder`; what it printed. Raises CalledProcessError: it failed."""
    command = [*DUTCHDOOR, *words]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    return done.stdout


def prepare(root: Path) -> Path:
    """A workspace whose audit is ready for its tests, and whose bundle is served."""
    run(root, "example-model", "model")
    run(root, "init", "--workspace", "house")
    house = root / "house"
    run(
        house, "seal", "../model", "--output", "smollm2", "--custodians", "2of3", "--auditor", "Ada"
    )
    run(house, "serve", "--background", "--port", "0")
    run(house, "grants", "make", "Ada", "--purpose", "internal audit", *GRANT, *BUDGET)
    run(house, "audit", "start", "--auditor", "Ada")
    run(house, "audit", "sign", "S0", "S2", "--as", "auditor-1")
    run(house, "audit", "collect")
    run(house, "audit", "sign", "C1", "--as", "auditor-1")
    return house


def timed(house: Path, *words: str) -> list[tuple[str, float]]:
    """Seconds of each part, in the order in which it began, and of all of it."""
    began: dict[str, float] = {}
    start_s = time.monotonic()
    command = [*DUTCHDOOR, "audit", "run", *words]
    with subprocess.Popen(
        command, cwd=house, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None, "the pipe was asked for"
        for line in process.stderr:
            name = line.rpartition(": ")[0]
            if name and " of " in line:
                began.setdefault(name, time.monotonic())
            else:
                print(line, end="", file=sys.stderr)
    end_s = time.monotonic()
    if process.returncode:
        raise SystemExit(f"audit run ended with {process.returncode}")
    ends = [*list(began.values())[1:], end_s]
    parts = [(name, end - at) for (name, at), end in zip(began.items(), ends, strict=True)]
    return [*parts, ("all", end_s - start_s)]


def main(chosen: Options) -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory(prefix="dutchdoor-bench-") as folder:
        house = prepare(Path(folder))
        try:
            before = os.getloadavg()[0]
            parts = timed(house, *(QUICK if chosen.quick else ("--all",)))
        finally:
            run(house, "stop")
    rows = [[name, f"{seconds:.0f}"] for name, seconds in parts]
    cores = len(os.sched_getaffinity(0))
    title = f"Automatic tests of an audit, {cores} cores, load {before:.1f} when it began"
    table(title, ("part", "seconds"), rows)
    result = {"title": "audit_run", "cores": cores, "load": before, "seconds": dict(parts)}
    keep(result, chosen, ("dutchdoor", "torch", "transformers", "inspect-ai"))


if __name__ == "__main__":
    main(options(__doc__.splitlines()[0]))
