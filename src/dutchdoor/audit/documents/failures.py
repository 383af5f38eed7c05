"""Failure analysis (M5, R1): the product, the priority, and what stops the audit.

The priority weighs severity first, after the idea of the AIAG-VDA handbook's action priority; the
table is our own and no conformance is claimed. What stops an audit is an open severity of 9 or 10,
never a product: the product of a terrible and rare failure is small.

| severity | high | medium |
|---|---|---|
| 9, 10 | O from 2 on | else |
| 7, 8 | O from 6 on, or O from 4 on and D from 7 on | O from 4 on, or O from 2 and D from 7 on |
| 4 to 6 | O from 8 on and D from 5 on | O from 6 on, or O from 4 on and D from 7 on |
| 2, 3 | never | O from 8 on and D from 7 on |
| 1 | never | never |

O is occurrence, D detection; what is neither is low.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from dutchdoor.audit.documents.reading import Trial

__all__ = [
    "STOPPING_SEVERITY",
    "Priority",
    "copied",
    "occurrence_of",
    "open_severe",
    "priority_of",
    "scored",
    "too_low",
]

STOPPING_SEVERITY = 9
"""An open failure of this severity or more stops the audit."""
_RATES = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 0.0001)


class Priority(StrEnum):
    """How soon a failure is to be acted on."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


def priority_of(severity: int, occurrence: int, detection: int) -> Priority:
    """The priority by the table above; each from 1 to 10, 10 worst."""
    hidden = detection >= 7
    if severity >= 9:
        return Priority.HIGH if occurrence >= 2 else Priority.MEDIUM
    if severity >= 7:
        high = occurrence >= 6 or (occurrence >= 4 and hidden)
        medium = occurrence >= 4 or (occurrence >= 2 and hidden)
    elif severity >= 4:
        high = occurrence >= 8 and detection >= 5
        medium = occurrence >= 6 or (occurrence >= 4 and hidden)
    else:
        high = False
        medium = severity >= 2 and occurrence >= 8 and hidden
    if high:
        return Priority.HIGH
    return Priority.MEDIUM if medium else Priority.LOW


def occurrence_of(tried: int, failed: int) -> int:
    """The occurrence, 1 to 10, that a measured rate stands for at least: our own table.

    10 from 50 % on, then 30, 20, 10, 5, 2, 1, 0.1, 0.01 %; 1 below that and where nothing failed.
    """
    if tried <= 0 or failed <= 0:
        return 1
    rate = failed / tried
    return next((10 - place for place, at in enumerate(_RATES) if rate >= at), 1)


def scored(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `rpn` and `priority` made anew; rows without scores as they were."""
    result = []
    for row in rows:
        scores = [row.get(name) for name in ("severity", "occurrence", "detection")]
        if all(type(score) is int for score in scores):
            s, o, d = (int(score) for score in scores if score is not None)
            made = {"rpn": s * o * d, "priority": str(priority_of(s, o, d))}
            # Before what R1 adds, so that rows read the same in both documents.
            tail = {key: row[key] for key in ("status", "action") if key in row}
            head = {key: value for key, value in row.items() if key not in {*tail, *made}}
            row = {**head, **made, **tail}
        result.append(dict(row))
    return result


def copied(earlier: Iterable[Mapping[str, Any]], tests: Sequence[Trial]) -> list[dict[str, Any]]:
    """Rows for R1 from those of M5: all open, occurrence as high as the tests showed."""
    result = []
    for row in earlier:
        shown = _shown(str(row.get("id")), tests)
        now = row.get("occurrence")
        occurrence = max(now, shown) if isinstance(now, int) else now
        result.append({**row, "occurrence": occurrence, "status": "open", "action": ""})
    return scored(result)


def too_low(rows: Iterable[Mapping[str, Any]], tests: Sequence[Trial]) -> list[str]:
    """The failures whose occurrence is said to be lower than the tests showed, as sentences."""
    found = []
    for row in rows:
        shown = _shown(str(row.get("id")), tests)
        if isinstance(row.get("occurrence"), int) and row["occurrence"] < shown:
            found.append(f"{row['id']} has occurrence {row['occurrence']}, tests showed {shown}")
    return found


def open_severe(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of open failures that stop the audit. What is not said to be closed is open."""
    return [
        str(row.get("id"))
        for row in rows
        if row.get("status") != "closed"
        and not (isinstance(row.get("severity"), int) and row["severity"] < STOPPING_SEVERITY)
    ]


def _shown(failure: str, tests: Sequence[Trial]) -> int:
    rates = [occurrence_of(test.tried, test.failed) for test in tests if test.failure == failure]
    return max(rates, default=1)
