"""What every benchmark shares: turns, spread, ratios, versions, `--quick` and `--json FILE`."""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["Options", "options", "report", "take_turns"]


@dataclass(frozen=True)
class Options:
    """quick: few rounds. json_file: where to keep the figures."""

    quick: bool
    json_file: Path | None


def options(description: str) -> Options:
    """The options every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="few rounds, for a look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures in FILE")
    arguments = parser.parse_args()
    return Options(arguments.quick, arguments.json)


def take_turns(
    runners: Mapping[str, Callable[[], float]], rounds: int, seed: int = 0
) -> dict[str, list[float]]:
    """Figures of each runner over `rounds`, in an order shuffled anew each round."""
    order = random.Random(seed)
    figures: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        names = list(runners)
        order.shuffle(names)
        for name in names:
            figures[name].append(runners[name]())
    return figures


def report(
    title: str,
    unit: str,
    figures: Mapping[str, list[float]],
    ours: str,
    chosen: Options,
    packages: tuple[str, ...] = ("dutchdoor", "cryptography"),
) -> dict[str, Any]:
    """Print the figures with their spread, and ours as a ratio to each other; keep them as JSON."""
    base = statistics.median(figures[ours])
    rows = {}
    print(f"{title} ({unit}; median [min .. max] of {len(figures[ours])}; ratio = ours / other)")
    for name, values in figures.items():
        middle = statistics.median(values)
        ratio = base / middle if middle else float("nan")
        rows[name] = {
            "median": middle,
            "min": min(values),
            "max": max(values),
            "ours_over_this": ratio,
        }
        spread = f"[{min(values):.4g} .. {max(values):.4g}]"
        print(f"  {name:<40} {middle:>12.4g}  {spread:<28} ratio {ratio:.3f}")
    result = {
        "title": title,
        "unit": unit,
        "ours": ours,
        "quick": chosen.quick,
        "rows": rows,
        "versions": _versions(packages),
    }
    if chosen.json_file is not None:
        kept = json.loads(chosen.json_file.read_text()) if chosen.json_file.exists() else []
        chosen.json_file.write_text(json.dumps([*kept, result], indent=2) + "\n")
    return result


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {"python": sys.version.split()[0], "machine": platform.machine()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
