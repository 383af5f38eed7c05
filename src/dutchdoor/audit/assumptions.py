"""Assumptions with a date: what a decision took for granted, and until when.

They stand in the decision's document as `assumptions: [{text: …, expires: 2027-03-01}]` and become
lines of the reasons that approvers sign, so that what is read later is what was signed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dutchdoor.clock import from_iso
from dutchdoor.errors import Invalid

__all__ = ["Assumption", "parse_assumptions", "read_assumptions"]

ASSUMPTIONS_MAX = 100
_LINE = re.compile(r"^Assumed until (\d{4}-\d{2}-\d{2}): (\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Assumption:
    """One assumption. text: one line. expires: a date, `2027-03-01`; it ends as that day begins."""

    text: str
    expires: str

    @property
    def expires_ms(self) -> int:
        """When it ends, midnight UTC."""
        return from_iso(self.expires)

    def to_line(self) -> str:
        """The line it is among the signed reasons."""
        return f"Assumed until {self.expires}: {self.text}"


def parse_assumptions(value: Any) -> tuple[Assumption, ...]:
    """The assumptions of a document's front matter (unverified).

    Raises Invalid: not rows of a text on one line and a date.
    """
    if not isinstance(value, list) or len(value) > ASSUMPTIONS_MAX:
        raise _bad(f"'assumptions' is no list of at most {ASSUMPTIONS_MAX} rows")
    found = []
    for row in value:
        if not isinstance(row, dict) or set(row) != {"text", "expires"}:
            raise _bad("an assumption has a text and a date on which it expires")
        assumption = Assumption(str(row["text"]).strip(), str(row["expires"]))
        if _LINE.fullmatch(assumption.to_line()) is None:
            raise _bad("an assumption is one line of text and a date like 2027-03-01")
        from_iso(assumption.expires)
        found.append(assumption)
    return tuple(found)


def read_assumptions(reasons: str) -> tuple[Assumption, ...]:
    """The assumptions among a decision's signed reasons; lines with impossible dates are none."""
    found = []
    for expires, text in _LINE.findall(reasons):
        try:
            from_iso(expires)
        except Invalid:
            continue
        found.append(Assumption(text.strip(), expires))
    return tuple(found)


def _bad(message: str) -> Invalid:
    hint = "write assumptions: [{text: 'what is taken for granted', expires: '2027-03-01'}]"
    return Invalid(message, code="bad_assumption", hint=hint)
