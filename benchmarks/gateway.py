"""What does the gateway add? A model that costs nothing: direct, through LiteLLM, through us.

    python -m benchmarks.gateway [--quick] [--json FILE] [--litellm PYTHON] [--realtime]

One closed loop of callers, in turns, in one run: the mock's own OpenAI door, LiteLLM's proxy in
front of it (a key, no database, no guardrail), and our gateway in front of the same mock's socket
with everything on: key, decision, Cedar, budgets, text rules in and out, two durable entries and a
receipt an answer. The proxies have CPU 0 for themselves, mock and callers have CPU 1.

The mock and the callers are C (`gateway_parts/`), so that they are not what is measured: `cc` is
needed. LiteLLM wants an environment of its own, whose PYTHON is named here:

    python3 -m venv peer && peer/bin/pip install 'litellm[proxy]'
    python -m benchmarks.gateway --litellm peer/bin/python

--realtime: the measured processes go before all others (needs root), for a machine that has other
work; without it a busy machine's time slices are what p99 shows.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gateway_parts.stacks import Bench, Load, Proxy
from benchmarks.harness import Options, keep, table

OURS = "dutchdoor, everything on"
LITELLM = "LiteLLM, a key only"
DIRECT = "direct"
PACKAGES = ("dutchdoor", "uvicorn", "uvloop", "msgspec", "cedarpy", "hyperscan")
CONNECTIONS = (1, 8, 64, 256)
TICK_US = 5_000
PACED_STREAMS = 256
PACED_TOKENS = 100


@dataclass(frozen=True)
class Cell:
    """One thing measured. tokens: written an answer."""

    connections: int
    stream: bool
    tokens: int = 4

    def __str__(self) -> str:
        return f"{'streamed' if self.stream else 'whole'}, {self.connections} connections"


Figures = dict[Cell, dict[str, list[Load]]]


def measure(bench: Bench, doors: Mapping[str, Proxy], rounds: int, burst_s: float) -> Figures:
    """Every cell at every door, in an order shuffled anew each round."""
    cells = [Cell(n, stream) for stream in (False, True) for n in CONNECTIONS]
    figures: Figures = {cell: {name: [] for name in doors} for cell in cells}
    turns = [(cell, name) for cell in cells for name in doors]
    order = random.Random(0)
    for _ in range(rounds):
        order.shuffle(turns)
        for cell, name in turns:
            # A slow peer needs time for at least a few answers a connection.
            seconds = burst_s * (4 if name == LITELLM and cell.connections > 8 else 1)
            load = bench.load(
                doors[name],
                connections=cell.connections,
                stream=cell.stream,
                tokens=cell.tokens,
                seconds=seconds,
            )
            figures[cell][name].append(load)
    return figures


def show(figures: Figures) -> list[dict[str, Any]]:
    """Print what was measured, and what each door adds to the direct one."""
    rows, kept = [], []
    for cell, doors in figures.items():
        base = statistics.median(load.p50_us for load in doors[DIRECT])
        base_tail = statistics.median(load.p99_us for load in doors[DIRECT])
        for name, loads in doors.items():
            rate = [load.rate for load in loads]
            row = {
                "cell": str(cell),
                "door": name,
                "added_p50_ms": _middle([load.p50_us - base for load in loads], 1000),
                "added_p99_ms": _middle([load.p99_us - base_tail for load in loads], 1000),
                "answers_s": _middle(rate),
                "answers_s_min": min(rate),
                "answers_s_max": max(rate),
                "cpu_us": _middle([load.cpu_us for load in loads]),
                "failures": sum(load.failures for load in loads),
            }
            kept.append(row)
            spread = f"{row['answers_s']:,.0f} [{min(rate):,.0f} .. {max(rate):,.0f}]"
            added = [f"{row['added_p50_ms']:.2f}", f"{row['added_p99_ms']:.2f}"]
            cpu = f"{row['cpu_us']:,.0f}" if name != DIRECT else "-"
            rows.append([str(cell), name, *added, spread, cpu])
    heads = ("", "door", "added p50 ms", "added p99 ms", "answers/s [spread]", "CPU us/answer")
    table("An answer of 4 tokens to a prompt of 2 kB", heads, rows)
    return kept


def paced(bench: Bench, doors: Mapping[str, Proxy], rounds: int, burst_s: float) -> list[Any]:
    """Tokens a second where each stream is given one every five milliseconds."""
    rows, kept = [], []
    for name, door in doors.items():
        loads = [
            bench.load(
                door,
                connections=PACED_STREAMS,
                stream=True,
                tokens=PACED_TOKENS,
                seconds=burst_s * 4,
            )
            for _ in range(rounds)
        ]
        # Each answer has its tokens and a few events more, the same for all doors.
        tokens = [load.rate * PACED_TOKENS for load in loads]
        cpu = _middle([load.cpu_us / PACED_TOKENS for load in loads])
        kept.append({"door": name, "tokens_s": _middle(tokens), "cpu_us_token": cpu})
        spread = f"{_middle(tokens):,.0f} [{min(tokens):,.0f} .. {max(tokens):,.0f}]"
        first = _middle([load.first_p50_us for load in loads], 1000)
        rows.append([name, spread, f"{cpu:.1f}" if name != DIRECT else "-", f"{first:.1f}"])
    offered = PACED_STREAMS * 1_000_000 // TICK_US
    title = f"{PACED_STREAMS} streams of {PACED_TOKENS} tokens, {offered:,} tokens/s offered"
    heads = ("door", "tokens/s [spread]", "CPU us/token", "first event p50 ms")
    table(title, heads, rows)
    return kept


def _middle(values: list[float], divisor: float = 1) -> float:
    return statistics.median(values) / divisor


def compare(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Ours beside LiteLLM: requests a second, and added latency."""
    found = {}
    by = {(row["cell"], row["door"]): row for row in rows}
    for connections in CONNECTIONS:
        cell = str(Cell(connections, stream=False))
        ours, theirs = by[cell, OURS], by[cell, LITELLM]
        found[f"requests at {connections}"] = ours["answers_s"] / theirs["answers_s"]
        added = max(ours["added_p50_ms"], 0.001)
        found[f"less added p50 at {connections}"] = theirs["added_p50_ms"] / added
    table(
        "Ours beside LiteLLM, whole answers",
        ("", "times"),
        [[name, f"{value:.1f}"] for name, value in found.items()],
    )
    return found


def main(arguments: argparse.Namespace) -> None:
    """Run and print."""
    chosen = Options(arguments.quick, arguments.json)
    rounds, burst_s = (1, 1.5) if chosen.quick else (3, 1.5)
    result: dict[str, Any] = {"title": "what the gateway adds"}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder), realtime=arguments.realtime)
        with bench.mock(tick_us=0) as mock, bench.ours(mock) as ours:
            doors = {DIRECT: mock, OURS: ours}
            if arguments.litellm:
                with bench.litellm(mock, arguments.litellm) as theirs:
                    figures = measure(bench, {**doors, LITELLM: theirs}, rounds, burst_s)
                    memory = {LITELLM: theirs.memory_mb(), OURS: ours.memory_mb()}
                    start = {LITELLM: theirs.start_s, OURS: ours.start_s}
            else:
                figures = measure(bench, doors, rounds, burst_s)
                memory, start = {OURS: ours.memory_mb()}, {OURS: ours.start_s}
            fresh = ours.fresh_mb
        rows = result["answers"] = show(figures)
        with bench.mock(tick_us=TICK_US) as mock, bench.ours(mock) as ours:
            result["streams"] = paced(bench, {DIRECT: mock, OURS: ours}, rounds, burst_s)
    if arguments.litellm:
        result["ratios"] = compare(rows)
    result |= {"memory_mb": memory, "start_s": start, "fresh_mb": fresh}
    table(
        "The process",
        ("door", "start to ready s", "memory after (PSS) MB"),
        [[name, f"{start[name]:.2f}", f"{memory[name]:.0f}"] for name in memory],
    )
    print(f"\nours when it had just started: {fresh:.0f} MB")
    keep(result, chosen, PACKAGES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, for a look")
    parser.add_argument("--json", type=Path, metavar="FILE", nargs="?", const=Path("-"))
    parser.add_argument("--litellm", type=Path, metavar="PYTHON", help="LiteLLM's own environment")
    parser.add_argument("--realtime", action="store_true", help="before all other processes")
    main(parser.parse_args())
