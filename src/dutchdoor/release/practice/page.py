"""The checklist as a page of Markdown, for whoever asks how the holder works."""

from __future__ import annotations

from collections.abc import Sequence

from dutchdoor.clock import to_iso
from dutchdoor.release.practice.model import Facts, Row, Status

__all__ = ["practice_page"]


def practice_page(rows: Sequence[Row], facts: Facts) -> str:
    """The page: each recommendation, its status, the claim, and what the program saw."""
    counts = {status: sum(row.status is status for row in rows) for status in Status}
    told = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    lines = [
        "# Practice",
        "",
        f"Bundle `{facts.bundle}`, {to_iso(facts.now_ms)[:10]}: {told}.",
        "",
        "Adopt or explain: what stands under *seen* the program found itself; *claimed* are the",
        "holder's words. A claim that what is seen speaks against is called contradicted.",
    ]
    for number, row in enumerate(rows, 1):
        item = row.recommendation
        lines += ["", f"## {number}. {item.text}", "", f"**{row.status}**", ""]
        lines.append(f"- claimed: {row.claim}{f'. {_line(row.why)}' if row.why.strip() else ''}")
        lines.append(f"- looked at: {item.looks_at}")
        lines += [f"- seen: {_line(text)}" for text in row.look.evidence]
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    return " ".join(text.split())
