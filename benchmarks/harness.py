"""What every benchmark shares: turns, spread, ratios, versions, `--quick`, `--json`, `--data`."""

from __future__ import annotations

import argparse
import json
import platform
import random
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = ["Options", "keep", "options", "report", "table", "take_turns"]

_STDOUT = Path("-")


@dataclass(frozen=True)
class Options:
    """quick: few rounds. json_file: where to keep the figures, `-` for the standard output.

    data: a folder of somebody else's prompts. model: a model's folder.
    """

    quick: bool
    json_file: Path | None
    data: Path | None = None
    model: Path | None = None


def options(description: str) -> Options:
    """The options every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="few rounds, for a look")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        nargs="?",
        const=_STDOUT,
        help="keep the figures in FILE, or print them as JSON",
    )
    parser.add_argument("--data", type=Path, help="a folder of NAME/data.jsonl, where it is taken")
    parser.add_argument("--model", type=Path, help="a model's folder, where one is needed")
    arguments = parser.parse_args()
    return Options(arguments.quick, arguments.json, arguments.data, arguments.model)


def table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table, as it stands in the documents."""
    print(f"\n{title}\n")
    print("| " + " | ".join(headings) + " |")
    print("|" + "---|" * len(headings))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def keep(result: dict[str, Any], chosen: Options, packages: tuple[str, ...]) -> dict[str, Any]:
    """`result` with what it was measured with; written where the options say."""
    whole = {**result, "quick": chosen.quick, "versions": _versions(packages)}
    if chosen.json_file == _STDOUT:
        print(json.dumps(whole, indent=2))
    elif chosen.json_file is not None:
        kept = json.loads(chosen.json_file.read_text()) if chosen.json_file.exists() else []
        chosen.json_file.write_text(json.dumps([*kept, whole], indent=2) + "\n")
    return whole


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
    return keep({"title": title, "unit": unit, "ours": ours, "rows": rows}, chosen, packages)


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {"python": sys.version.split()[0], "machine": platform.machine()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
