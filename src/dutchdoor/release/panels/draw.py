"""Sortition: who is drawn from a list, by a seed that nobody could choose after the list was fixed.

Each person on the list gets a number, SHA-256 of `dutchdoor-panel-draw-1`, the panel's id, each
seed and the person's name, one a line, without a newline at the end. The smallest numbers are
seated, in each stratum as many as its quota. So anybody with the list draws again with `sha256sum`
and `sort`, and nobody's number depends on who else is on the list.
Source: the demands are those of RFC 3797 (Eastlake 2004), sections 2 to 4: a fixed public list,
sources nobody controls, named before they speak, a hash over all. The selection differs: RFC 3797
takes MD5 modulo what is left, which has a bias and changes with each name struck from the list.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from dutchdoor.custody.model import check_name
from dutchdoor.errors import Invalid

__all__ = ["LIST_BYTES_MAX", "Row", "draw", "must_have_seats", "read_list"]

LIST_BYTES_MAX = 16 << 20
ROWS_MAX = 200_000
_DOMAIN = "dutchdoor-panel-draw-1"


class Row(NamedTuple):
    """Somebody on the list. stratum: the value of the column that is drawn by, or ""."""

    name: str
    stratum: str


def read_list(data: bytes, stratum: str = "") -> tuple[Row, ...]:
    """The people on a list (unverified bytes): CSV with a header whose first column is `name`.

    stratum: the column to draw by, or "". Other columns are no concern of the draw.
    Raises Invalid: not such a list, a name twice, or a name that cannot be a key's.
    """
    if len(data) > LIST_BYTES_MAX:
        raise _bad(f"it has more than {LIST_BYTES_MAX} bytes")
    try:
        lines = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise _bad("it is not CSV in UTF-8") from error
    head, people = (lines[0], [line for line in lines[1:] if line]) if lines else ([], [])
    if not head or head[0] != "name" or len(set(head)) < len(head):
        raise _bad("its first column is not 'name', or a column is there twice")
    if stratum and stratum not in head[1:]:
        raise _bad(f"it has no column '{stratum}'")
    if not 0 < len(people) <= ROWS_MAX or any(len(line) != len(head) for line in people):
        raise _bad(f"it has no people, more than {ROWS_MAX}, or a line of another length")
    place = head.index(stratum) if stratum else 0
    rows = tuple(Row(check_name(line[0]), line[place] if stratum else "") for line in people)
    if len({row.name for row in rows}) < len(rows):
        raise _bad("somebody is on it twice")
    return rows


def must_have_seats(rows: Sequence[Row], seats: int, quotas: Mapping[str, int]) -> None:
    """Raises Invalid where a stratum of the list has fewer people than seats."""
    for stratum, quota in _strata(seats, quotas):
        there = sum(stratum is None or row.stratum == stratum for row in rows)
        if there < quota:
            name = "the list" if stratum is None else f"stratum '{stratum}'"
            raise _bad(f"{name} has {there} people for {quota} seats")


def draw(
    rows: Sequence[Row],
    *,
    panel: str,
    seeds: Sequence[str],
    seats: int,
    quotas: Mapping[str, int],
    declined: Collection[str] = (),
) -> tuple[str, ...]:
    """The names that are seated, by stratum and then by number; the order of `rows` is no matter.

    declined: drawn, and would not come; the next of their stratum takes the seat.
    Raises Invalid: a stratum is exhausted, or somebody declined who was not drawn.
    """
    numbered = sorted((number_of(panel, seeds, row.name), row) for row in rows)
    seated: list[str] = []
    asked: set[str] = set()
    for stratum, quota in _strata(seats, quotas):
        taken = 0
        for _, row in numbered:
            if taken == quota:
                break
            if stratum is not None and row.stratum != stratum:
                continue
            asked.add(row.name)
            if row.name not in declined:
                seated.append(row.name)
                taken += 1
        if taken < quota:
            raise _bad(f"{'the list' if stratum is None else stratum} is exhausted")
    strangers = sorted(set(declined) - asked)
    if strangers:
        raise _bad(f"{strangers[0]} was not drawn, and so cannot decline")
    return tuple(seated)


def number_of(panel: str, seeds: Sequence[str], name: str) -> str:
    """A person's number, 64 hexadecimal digits; they are compared as text."""
    text = "\n".join((_DOMAIN, panel, *seeds, name))
    return hashlib.sha256(text.encode()).hexdigest()


def _strata(seats: int, quotas: Mapping[str, int]) -> list[tuple[str | None, int]]:
    return [*sorted(quotas.items())] if quotas else [(None, seats)]


def _bad(reason: str) -> Invalid:
    hint = "a list is CSV: a header 'name,…', then one person a line"
    return Invalid(f"the list of the draw: {reason}", code="bad_list", hint=hint)
