"""What may roll a stage back by itself: the words a plan may use, and what fulfils them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Any

from dutchdoor.errors import Invalid
from dutchdoor.evidence.incidents import Incident, IncidentClass, IncidentNature
from dutchdoor.evidence.terms import Condition

__all__ = ["INFERENCES_MAX", "FlagRate", "TriggerKind", "check_trigger", "fulfils", "is_flagged"]

INFERENCES_MAX = 100_000
_PART = re.compile(r"0|0\.[0-9]{1,6}")
_COUNT = re.compile(r"[1-9][0-9]{0,5}")


class TriggerKind(StrEnum):
    """The closed vocabulary of roll-back conditions."""

    INCIDENT = "incident_at_least"
    """`class`: an incident on the bundle is recorded that is so grave, or graver."""
    LEAK = "leak_reported"
    """An incident is recorded whose nature is that weights leaked."""
    AUDIT_DUE = "audit_due"
    """The audit is due again; `trigger`, optional: only by this one."""
    FLAG_RATE = "guard_flag_rate"
    """`above`: the part of the last `inferences` judged ones that the probe stopped or flagged."""


_ARGUMENTS: Mapping[TriggerKind, tuple[frozenset[str], frozenset[str]]] = {
    TriggerKind.INCIDENT: (frozenset({"class"}), frozenset()),
    TriggerKind.LEAK: (frozenset(), frozenset()),
    TriggerKind.AUDIT_DUE: (frozenset(), frozenset({"trigger"})),
    TriggerKind.FLAG_RATE: (frozenset({"above", "inferences"}), frozenset()),
}


def check_trigger(row: Condition) -> TriggerKind:
    """The kind of a plan's roll-back condition.

    Raises Invalid: an unknown kind, or arguments that it does not have; such a condition would
    never roll anything back, and nobody would notice.
    """
    try:
        kind = TriggerKind(row.kind)
    except ValueError as error:
        hint = "known: " + ", ".join(TriggerKind)
        message = f"no condition '{row.kind}' rolls a stage back"
        raise Invalid(message, code="unknown_condition", hint=hint) from error
    needed, optional = _ARGUMENTS[kind]
    if not needed <= row.arguments.keys() <= needed | optional:
        hint = "it takes: " + (", ".join(sorted(needed | optional)) or "none")
        raise Invalid(f"{kind}: wrong arguments", code="bad_condition", hint=hint)
    try:
        if kind is TriggerKind.INCIDENT:
            IncidentClass(row.arguments["class"])
        if kind is TriggerKind.FLAG_RATE:
            FlagRate(row.arguments)
    except ValueError as error:
        message = f"{kind}: an argument is out of bounds"
        raise Invalid(message, code="bad_condition") from error
    return kind


def fulfils(row: Condition, incident: Incident) -> bool:
    """Whether the recording of `incident` fulfils the condition `row`, which was checked."""
    if row.kind == TriggerKind.LEAK:
        return incident.nature is IncidentNature.WEIGHTS_LEAKED
    if row.kind != TriggerKind.INCIDENT:
        return False
    return incident.grade.at_least(IncidentClass(row.arguments["class"]))


def is_flagged(verdicts: Any) -> bool | None:
    """Whether a fitted probe stopped or flagged an inference; None where none judged it.

    verdicts: of its entry `inference_done` (unverified).
    """
    rows = verdicts if isinstance(verdicts, list) else []
    actions = [
        row.get("action")
        for row in rows
        if isinstance(row, dict) and row.get("layer") == "probe" and row.get("version") != "none"
    ]
    return any(action != "allow" for action in actions) if actions else None


class FlagRate:
    """The part of the last judged inferences that were flagged, against a plan's bound."""

    def __init__(self, arguments: Mapping[str, str]) -> None:
        """arguments: of the plan's condition. Raises Invalid: they are none."""
        above, count = arguments.get("above", ""), arguments.get("inferences", "")
        fits = _PART.fullmatch(above) and _COUNT.fullmatch(count)
        if not fits or int(count) > INFERENCES_MAX:
            message = "guard_flag_rate takes a part below 1 and a count of inferences"
            hint = f"for instance above 0.05, inferences 200 (at most {INFERENCES_MAX})"
            raise Invalid(message, code="bad_condition", hint=hint)
        # As a fraction, because two implementations must agree to the last inference.
        self._above = Fraction(above)
        self._window: deque[bool] = deque(maxlen=int(count))
        self._flagged = 0
        self.hit: int | None = None
        """Index of the entry with which the bound was first passed."""

    def feed(self, index: int, flagged: bool) -> None:
        """Take in one judged inference, whose entry stands at `index`."""
        if self.hit is not None:
            return
        if len(self._window) == self._window.maxlen:
            self._flagged -= self._window[0]
        self._window.append(flagged)
        self._flagged += flagged
        size = len(self._window)
        if size == self._window.maxlen and self._flagged > self._above * size:
            self.hit = index
