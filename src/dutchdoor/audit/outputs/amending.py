"""`amend.json`: curves of behaviour against what a modification costs, read as far as they go.

The amend test writes it. Whatever in it has `points` is a curve; a point has `x` (what the axis
counts), one figure or several named ones, each with its interval, and may have a `cost` in
floating-point operations. What could not be read is said, not dropped in silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dutchdoor.audit.outputs.text import clean, cleaned, label
from dutchdoor.errors import Invalid

__all__ = ["AMEND_NAME", "COST_AXIS", "Curve", "Point", "read_curves"]

AMEND_NAME = "amend.json"
AMEND_BYTES_MAX = 1 << 22
CURVES_MAX = 48
POINTS_MAX = 200
DEPTH_MAX = 4
COST_AXIS = "floating-point operations of the attacker"

_FIGURE = ("mean", "value", "score", "rate")
_AXES = {"tune": "steps of tuning", "ablate": "per cent of the direction taken out"}


@dataclass(frozen=True)
class Point:
    """One point of a curve. at: steps, or whatever the axis says. low, high: 95 % interval."""

    at: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """What one way to modify the model does. axis: what is counted along it."""

    name: str
    behaviour: str
    axis: str
    points: tuple[Point, ...]


def read_curves(folder: Path, bundle: str) -> tuple[tuple[Curve, ...], tuple[str, ...]]:
    """The curves in an audit's folder, and remarks in words; nothing where there is no file.

    Raises Invalid: not JSON, too large, or of another bundle.
    """
    try:
        with (folder / AMEND_NAME).open("rb") as file:
            data = file.read(AMEND_BYTES_MAX + 1)
    except FileNotFoundError:
        return (), ()
    if len(data) > AMEND_BYTES_MAX:
        raise Invalid(f"{AMEND_NAME} is larger than {AMEND_BYTES_MAX} bytes", code="bad_amend")
    try:
        value = cleaned(json.loads(data.decode()))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{AMEND_NAME} is no JSON of ours", code="bad_amend") from error
    if not isinstance(value, dict) or value.get("bundle", bundle) != bundle:
        raise Invalid(f"{AMEND_NAME} is of another bundle", code="bad_amend")
    rows = list(_rows(value, 0))
    curves = [curve for row in rows for curve in _curves(row)]
    remarks = list(_remarks(value))
    unread = sum(1 for row in rows if not _curves(row))
    if unread:
        remarks.append(f"{unread} of {len(rows)} curves could not be drawn.")
    if len(curves) > CURVES_MAX:
        remarks.append(f"{len(curves) - CURVES_MAX} curves more are not drawn.")
    return tuple(curves[:CURVES_MAX]), tuple(remarks)


def _rows(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > DEPTH_MAX:
        return
    if isinstance(value, dict) and isinstance(value.get("points"), list):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _rows(item, depth + 1)


def _remarks(value: dict[str, Any]) -> Iterator[str]:
    for name in ("notes", "remarks", "reason", "why"):
        said = value.get(name)
        for note in [said] if isinstance(said, str) else said if isinstance(said, list) else []:
            if isinstance(note, str) and note.strip():
                yield clean(note.strip())
    if value.get("nothing_to_unlock") is True:
        yield "Nothing to unlock: the model shows no safeguard before any modification."


def _curves(row: dict[str, Any]) -> list[Curve]:
    method = str(row.get("name") or row.get("method") or "modification")
    subject = row.get("subject")
    name = label(method) + (f", {subject}" if isinstance(subject, str) and subject else "")
    axis = str(row.get("axis") or _AXES.get(method) or f"{label(method)}: x")
    found: dict[tuple[str, str], list[Point]] = {}
    default = str(row.get("behaviour") or row.get("measure") or "rate")
    for point in row["points"][:POINTS_MAX]:
        if not isinstance(point, dict):
            continue
        at = _number(point.get("x", point.get("at", point.get("steps"))))
        cost = point.get("cost")
        flops = _number(cost.get("flops")) if isinstance(cost, dict) else None
        figures = {default: point} | {
            str(key): item
            for key, item in point.items()
            if key not in {"cost", *_FIGURE} and isinstance(item, dict)
        }
        for behaviour, figure in figures.items():
            for place, along in ((at, axis), (flops or None, COST_AXIS)):
                drawn = _point(place, figure)
                if drawn is not None and (along is axis or behaviour in {default, "refusal"}):
                    found.setdefault((behaviour, along), []).append(drawn)
    return [
        Curve(name, behaviour, along, tuple(sorted(points, key=lambda point: point.at)))
        for (behaviour, along), points in found.items()
    ]


def _point(at: float | None, figure: dict[str, Any]) -> Point | None:
    value = next((_number(figure[name]) for name in _FIGURE if name in figure), None)
    if at is None or value is None:
        return None
    low, high = _number(figure.get("low", value)), _number(figure.get("high", value))
    if low is None or high is None or not low <= value <= high:
        return None
    return Point(at, value, low, high)


def _number(value: Any) -> float | None:
    """`value` as a number that can be drawn, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 1e30 else None
