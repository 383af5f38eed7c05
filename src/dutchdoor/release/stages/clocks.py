"""By when an authority must hear of an incident, and whether it did.

Source: Code of Practice for general-purpose AI, safety and security, measure 9.3: the first report
so many days after awareness, an intermediate one every four weeks until it is resolved, the final
one within 60 days after that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dutchdoor.evidence.incidents import IncidentNature
from dutchdoor.evidence.stages import Placed
from dutchdoor.release.model import DAY_MS

__all__ = ["FIELDS", "FIRST_DAYS", "UNKNOWN", "Clock", "clocks"]

FIRST_DAYS: Mapping[IncidentNature, int] = {
    IncidentNature.INFRASTRUCTURE: 2,
    IncidentNature.WEIGHTS_LEAKED: 5,
    IncidentNature.BREACH: 5,
    IncidentNature.DEATH: 10,
    IncidentNature.SERIOUS_HARM: 15,
}
BETWEEN_DAYS = 28
FINAL_DAYS = 60

UNKNOWN = "unknown"
FIELDS: Mapping[str, str] = {
    "started": "when it began",
    "ended": "when it ended",
    "harm": "what harm was done",
    "affected": "who or what is affected",
    "events": "the chain of events",
    "model": "which model, in which version",
    "involvement": "what shows the model's part in it",
    "response": "what was done",
    "recommendations": "what authorities are recommended to do",
    "root_cause": "the root cause: outputs, inputs, failed or circumvented mitigations",
    "patterns": "patterns seen since, and near misses",
}
"""What a report on an incident says (measure 9.2). What is not known is said to be unknown."""


class Clock(NamedTuple):
    """One report that is owed. met_ms: when it went out, 0 while it did not."""

    report: str
    due_ms: int
    met_ms: int

    def state(self, now_ms: int) -> str:
        """`done`, `late` (it went out too late), `running` or `overdue`."""
        if self.met_ms:
            return "done" if self.met_ms <= self.due_ms else "late"
        return "running" if now_ms < self.due_ms else "overdue"


def clocks(revisions: Sequence[Placed]) -> tuple[Clock, ...]:
    """The reports owed on one incident, by all its revisions; none where its nature asks none."""
    last = revisions[-1].incident
    days = min((FIRST_DAYS.get(row.incident.nature, 0) for row in revisions), default=0)
    days = FIRST_DAYS.get(last.nature, days)
    if not days:
        return ()
    sent = [(row.incident.report, row.time_ms) for row in revisions if row.incident.report]
    first_ms = sent[0][1] if sent else 0
    found = [Clock("initial", last.aware_ms + days * DAY_MS, first_ms)]
    if first_ms and not last.resolved_ms:
        found.append(Clock("intermediate", sent[-1][1] + BETWEEN_DAYS * DAY_MS, 0))
    if last.resolved_ms:
        final_ms = next((at_ms for report, at_ms in sent if report == "final"), 0)
        found.append(Clock("final", last.resolved_ms + FINAL_DAYS * DAY_MS, final_ms))
    return tuple(found)
