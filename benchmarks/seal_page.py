"""The tables of `benchmarks.seal`, and their place in docs/concepts/sealing.md."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

__all__ = ["tables", "write_page"]

PAGE = Path(__file__).parent.parent / "docs" / "concepts" / "sealing.md"
BEGIN, END = "<!-- figures: {} -->", "<!-- end: {} -->"

Figures = dict[str, dict[str, list[dict[str, Any]]]]
Rows = list[list[str]]


def quarter(rows: list[dict[str, Any]], name: str) -> float:
    """The 25th percentile of a figure."""
    values = sorted(row[name] for row in rows)
    return (
        statistics.quantiles(values, n=4, method="inclusive")[0]
        if len(values) > 1
        else float(values[0])
    )


def tables(figures: Figures, size: int) -> dict[str, Rows]:
    """Each table with its headings first; `ratio` is the other's CPU seconds over ours."""
    found = {
        "Load everything": _loads(figures["load"], size),
        "Load one tensor": _simple(figures["tensor"], "dutchdoor", 1_000, "ms"),
        "Seal": _seals(figures["seal"], size),
        "Load everything from a cold disk": _cold(figures["cold"], size),
    }
    return {title: rows for title, rows in found.items() if len(rows) > 1}


def _loads(figures: dict[str, list[dict[str, Any]]], size: int) -> Rows:
    heads = ["loader", "CPU s", "median", "GB/s a core", "ratio", "anonymous", "peak"]
    rows = [heads]
    base = quarter(figures["dutchdoor, fresh memory"], "cpu_s")
    for name, found in figures.items():
        if not found:
            rows.append([name, "not measured", "", "", "", "", ""])
            continue
        cpu = quarter(found, "cpu_s")
        rows.append(
            [
                name,
                f"{cpu:.3f}",
                f"{statistics.median(row['cpu_s'] for row in found):.3f}",
                f"{size / cpu / 1e9:.1f}",
                f"{cpu / base:.2f}",
                f"{statistics.median(row['anonymous_bytes'] for row in found) / size:.2f}",
                f"{statistics.median(row['peak_bytes'] for row in found) / size:.2f}",
            ]
        )
    return rows


def _simple(figures: dict[str, list[dict[str, Any]]], ours: str, scale: int, unit: str) -> Rows:
    rows = [["reader", f"CPU {unit}", "median", "ratio"]]
    base = quarter(figures[ours], "cpu_s")
    for name, found in figures.items():
        if not found:
            rows.append([name, "not measured", "", ""])
            continue
        cpu = quarter(found, "cpu_s")
        middle = statistics.median(row["cpu_s"] for row in found)
        rows.append([name, f"{scale * cpu:.1f}", f"{scale * middle:.1f}", f"{cpu / base:.2f}"])
    return rows


def _seals(figures: dict[str, list[dict[str, Any]]], size: int) -> Rows:
    rows = _simple(figures, "dutchdoor, durable", 1, "s")
    rows[0] = ["sealer", "CPU s", "median", "ratio", "GB/s a core", "best wall s"]
    for row in rows[1:]:
        found = figures[row[0]]
        if found:
            row[1] = f"{quarter(found, 'cpu_s'):.2f}"
            row[2] = f"{statistics.median(one['cpu_s'] for one in found):.2f}"
            row.append(f"{size / quarter(found, 'cpu_s') / 1e9:.2f}")
            row.append(f"{min(one['wall_s'] for one in found):.2f}")
        else:
            row += ["", ""]
    return rows


def _cold(figures: dict[str, list[dict[str, Any]]], size: int) -> Rows:
    names = {
        "read": "read() alone",
        "ours": "dutchdoor, load everything",
        "plain": "plain: load_file, then read once",
    }
    best = {
        key: min((row["wall_s"] for row in found), default=0.0) for key, found in figures.items()
    }
    rows = [["from the disk", "best wall s", "GB/s", "of the disk"]]
    for key, name in names.items():
        if best[key]:
            rate = size / best[key] / 1e9
            share = best["read"] / best[key]
            rows.append([name, f"{best[key]:.2f}", f"{rate:.2f}", f"{share:.2f}"])
    return rows


def write_page(result: dict[str, Any]) -> None:
    """Puts the tables between the marks of this size of checkpoint."""
    mark = f"{result['bytes'] / 1e9:.2f} GB"
    begin, end = BEGIN.format(mark), END.format(mark)
    text = PAGE.read_text()
    if begin not in text:
        text = text.rstrip("\n") + f"\n\n{begin}\n{end}\n"
    said = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    rounds = ", ".join(f"{count} of {name}" for name, count in result["rounds"].items())
    lines = [f"\n**{mark}**; rounds: {rounds}; {said}.\n"]
    for title, rows in result["tables"].items():
        lines += [f"{title}:\n", _markdown(rows), ""]
    for name, why in result["missing"].items():
        lines.append(f"Missing: {name}: {why}.\n")
    head, rest = text.split(begin, 1)
    tail = rest.split(end, 1)[1]
    PAGE.write_text(head + begin + "\n".join(lines) + "\n" + end + tail)


def _markdown(rows: Rows) -> str:
    heads, *others = rows
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in others])
