"""What `dutchdoor panel` reads from words and files, and how it tells where a panel stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dutchdoor.clock import from_iso, to_iso
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.release.panels.service import Standing

__all__ = ["moment", "quotas_of", "ranks_of", "read_file", "standing_text", "standing_value"]

_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment(text: str, now_ms: int) -> int:
    """A time: RFC 3339, a date, or `+30m`, `+6h`, `+14d` from now. Raises Invalid: neither."""
    found = re.fullmatch(r"\+([0-9]{1,6})([mhd])", text)
    return now_ms + int(found[1]) * _UNITS_MS[found[2]] if found else from_iso(text)


def quotas_of(texts: Sequence[str]) -> dict[str, int]:
    """`VALUE=SEATS`, several. Raises Invalid: not so, or a value twice."""
    quotas: dict[str, int] = {}
    for text in texts:
        value, equals, number = text.rpartition("=")
        if not equals or not number.isdecimal() or value in quotas:
            hint = "write --quota VALUE=SEATS, each value once"
            raise Invalid(f"'{text}' is no quota", code="bad_panel", hint=hint)
        quotas[value] = int(number)
    return quotas


def ranks_of(text: str) -> list[list[str]]:
    """`a > b = c` as ranks, the best first."""
    return [[option.strip() for option in rank.split("=")] for rank in text.split(">")]


def read_file(path: Path, bytes_max: int) -> bytes:
    """The file's bytes. Raises NotFound: it cannot be read. Raises Invalid: it is too long."""
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise NotFound(f"{path} cannot be read", code="no_file", hint="name a file") from error
    if len(data) > bytes_max:
        raise Invalid(f"{path} has more than {bytes_max} bytes", code="file_too_large")
    return data


def standing_value(row: Standing) -> dict[str, Any]:
    """Where a panel stands, for programs."""
    panel, tally = row.panel, row.tally
    return {
        "panel": panel.id,
        "state": row.state,
        "call": None if panel.call is None else panel.call.to_body(),
        "opening": None if panel.opening is None else panel.opening.to_body(),
        "missing": list(row.missing),
        "votes": [ballot.to_body() for _, ballot in panel.votes.values()],
        "outcome": "" if tally is None else tally.outcome,
        "counts": {} if tally is None else dict(tally.counts),
        "quorum_met": tally is not None and tally.quorum_met,
        "result": panel.result,
    }


def standing_text(row: Standing) -> str:
    """Where a panel stands, for a person."""
    panel, opening, tally = row.panel, row.panel.opening, row.tally
    if opening is None or tally is None:
        assert panel.call is not None, "a panel that is not opened was called"
        return (
            f"{panel.id}: called, {panel.call.seats} of {panel.call.rows} people, "
            f"the seed not before {to_iso(panel.call.seed_from_ms)}"
        )
    counts = ", ".join(f"{option} {number}" for option, number in tally.counts.items())
    quorum = "met" if tally.quorum_met else "not met"
    lines = [
        f"{panel.id}: {row.state}: {opening.question}",
        f"  {opening.rule}, votes {to_iso(opening.opens_ms)} until {to_iso(opening.closes_ms)}",
        f"  {tally.voted} of {len(opening.members)} voted, quorum {opening.quorum} {quorum}",
        f"  {counts}",
    ]
    if row.state in ("over", "closed"):
        lines.append(f"  outcome: {tally.outcome or 'none'}")
    if row.missing and row.state != "closed":
        lines.append(f"  not yet voted: {', '.join(row.missing)}")
    if row.state in ("over", "closed"):
        lines += [f"  {name} says: {panel.votes[name][1].reason}" for name in tally.minority]
    return "\n".join(lines)
