"""Answers and differences as plain values, for the command line and HTTP alike."""

from __future__ import annotations

from typing import Any

from dutchdoor.audit.outputs.mof_class import ClassResult, progress_text
from dutchdoor.release.combinations.model import CIRCLES, Answer, Flag, Opening, Way
from dutchdoor.release.combinations.what_if import Difference

__all__ = ["answer_value", "class_value", "difference_value", "opening_value"]


def opening_value(opening: Opening) -> dict[str, Any]:
    """What is opened; sorted, so that the same opening has one form."""
    return {
        "level": str(opening.level),
        "components": {name: str(opening.components[name]) for name in sorted(opening.components)},
        "depths": {
            audience: sorted(str(depth) for depth in opening.depths[audience])
            for audience in sorted(opening.depths)
        },
        "vectors_max": opening.vectors_max,
        "hidden_size": opening.hidden_size,
    }


def answer_value(answer: Answer) -> dict[str, Any]:
    """What it makes possible."""
    return {
        "activities": {
            str(row.activity): {
                "enabled": row.enabled,
                "circle": str(row.circle or ""),
                "people": CIRCLES[row.circle] if row.circle else "",
                "ended_by" if row.activity.of_the_holder else "ways": [_way(w) for w in row.ways],
            }
            for row in answer.standings
        },
        "flags": [_flag(flag) for flag in answer.flags],
        "forbidden": bool(answer.forbidden),
        "for_good": list(answer.for_good),
    }


def difference_value(difference: Difference) -> dict[str, Any]:
    """What a change would do."""
    return {
        "change": difference.change.text(),
        "moves": [
            {
                "activity": str(move.activity),
                "before": str(move.before or ""),
                "after": str(move.after or ""),
                "ways": [_way(way) for way in move.ways],
            }
            for move in difference.moves
        ],
        "ended": [str(activity) for activity in difference.ended],
        "regained": [str(activity) for activity in difference.regained],
        "ways": [_way(way) for way in difference.ways],
        "flags": [_flag(flag) for flag in difference.flags],
        "settled": list(difference.settled),
        "forbidden": bool(difference.after.forbidden),
    }


def class_value(result: ClassResult) -> dict[str, Any]:
    """The framework's class, and why it is no better."""
    return {
        "class": result.number,
        "name": result.name,
        "text": progress_text(result),
        "counted": {str(number): count for number, count in sorted(result.counted.items())},
        "needed": {str(number): count for number, count in sorted(result.needed.items())},
        "missing": list(result.missing),
        "not_open": dict(result.not_open),
        "unlicensed": list(result.unlicensed),
        "warned": dict(result.warned),
        "note": "computed by dutchdoor's reading of the framework's rules; no conformity claimed",
    }


def _way(way: Way) -> dict[str, str]:
    return {
        "name": way.name,
        "activity": str(way.activity),
        "circle": str(way.circle),
        "reason": way.reason,
        "plain": way.plain,
        "source": way.source,
    }


def _flag(flag: Flag) -> dict[str, str]:
    return {
        "name": flag.name,
        "verdict": str(flag.verdict),
        "circle": str(flag.circle),
        "reason": flag.reason,
        "plain": flag.plain,
        "mend": flag.mend,
        "source": flag.source,
        "arithmetic": flag.arithmetic,
    }
