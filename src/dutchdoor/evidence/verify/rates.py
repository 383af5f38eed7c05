"""The guard's rate on traffic, judged a second time, and which conditions a plan may have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dutchdoor.evidence.verify.incidents import GRADES

__all__ = ["Rate", "can_be_checked", "flagged"]

_ABOVE = re.compile(r"0(\.[0-9]{1,6})?")
_SIZE = re.compile(r"[1-9][0-9]{0,5}")
_SIZE_MAX = 100_000


class Rate:
    """Whether more than a part of the last inferences was stopped or flagged, and since when."""

    def __init__(self, words: Mapping[str, str]) -> None:
        # In millionths, so that no rounding decides.
        self._above = int((words["above"][2:] + "000000")[:6])
        self._size = int(words["inferences"])
        self._last: list[bool] = []
        self._count = 0
        self.passed = -1

    def add(self, index: int, flag: bool) -> None:
        """Take in one inference, whose end stands at `index`."""
        if self.passed >= 0:
            return
        self._last.append(flag)
        self._count += flag
        if len(self._last) > self._size:
            # What leaves the window stays in the list, and counts no longer.
            self._count -= self._last[-self._size - 1]
        full = len(self._last) >= self._size
        if full and self._count * 1_000_000 > self._above * self._size:
            self.passed = index


def flagged(verdicts: Any) -> bool | None:
    """Whether a probe stopped or flagged an inference; None where none judged it."""
    found = None
    for row in verdicts if type(verdicts) is list else ():
        if type(row) is dict and row.get("layer") == "probe" and row.get("version") != "none":
            found = bool(found) or row.get("action") != "allow"
    return found


def can_be_checked(condition: Mapping[str, Any]) -> bool:
    """Whether a plan's roll-back condition, in form, is one that the log's rules know."""
    kind, words = condition["kind"], condition["arguments"]
    if kind == "incident_at_least":
        return bool(words.keys() == {"class"} and words["class"] in GRADES)
    if kind == "leak_reported":
        return not words
    if kind == "audit_due":
        return set(words) <= {"trigger"}
    if kind != "guard_flag_rate" or words.keys() != {"above", "inferences"}:
        return False
    fits = _ABOVE.fullmatch(words["above"]) and _SIZE.fullmatch(words["inferences"])
    return bool(fits) and int(words["inferences"]) <= _SIZE_MAX
