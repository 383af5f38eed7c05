"""The two clocks of an audit and what makes it due again, as `dutchdoor audit status` shows them.

Effort is what people wrote in a document; elapsed is from the moment it could be written to its
last sign-off, by signatures. Neither follows from the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dutchdoor.app.dues import Shown
from dutchdoor.audit.documents.people import Clocks
from dutchdoor.clock import to_iso

__all__ = ["clock_lines", "clock_values", "due_lines", "due_values"]

MINUTE_MS = 60_000


def clock_lines(clocks: Sequence[Clocks]) -> list[str]:
    """Both clocks as lines for a person: each document that has one, and the sum."""
    lines = ["  clocks, in minutes (effort as people said, elapsed by signatures):"]
    lines += [
        f"    {row.kind}: {_effort(row)}, {_elapsed(row)}"
        for row in clocks
        if row.effort_minutes or row.elapsed_ms is not None
    ]
    said = sum(row.effort_minutes for row in clocks)
    silent = sum(not row.effort_minutes for row in clocks)
    passed = sum(row.elapsed_ms or 0 for row in clocks) // MINUTE_MS
    return [*lines, f"    all: effort {said} ({silent} documents say none), elapsed {passed}"]


def clock_values(clocks: Sequence[Clocks]) -> list[dict[str, Any]]:
    """Both clocks as plain values."""
    return [{**row._asdict(), "kind": str(row.kind)} for row in clocks]


def due_lines(dues: Sequence[Shown], trouble: str) -> list[str]:
    """What is due as lines for a person."""
    if trouble:
        return [f"  dues cannot be known: {trouble}"]
    if not dues:
        return ["  dues: none; no decision in force rests on an audit of this bundle"]
    return [
        f"  {state}: {row.due.trigger}, due {to_iso(row.due.due_ms)[:10]}, out of force "
        f"{to_iso(row.due.ends_ms)[:10]}: {row.due.detail}"
        for row, state in dues
    ]


def due_values(dues: Sequence[Shown]) -> list[dict[str, Any]]:
    """What is due as plain values."""
    return [
        {
            "due": row.due.id,
            "trigger": row.due.trigger,
            "state": state,
            "recorded": row.recorded,
            "due_at": to_iso(row.due.due_ms),
            "out_of_force_at": to_iso(row.due.ends_ms),
            "detail": row.due.detail,
        }
        for row, state in dues
    ]


def _effort(row: Clocks) -> str:
    return f"effort {row.effort_minutes}" if row.effort_minutes else "effort not said"


def _elapsed(row: Clocks) -> str:
    if row.elapsed_ms is None:
        return "not signed yet"
    return f"elapsed {row.elapsed_ms // MINUTE_MS}"
