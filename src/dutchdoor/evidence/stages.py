"""In which stage of its plan a decision stands, by the log's order alone.

The rules, for each decision:
1. It begins in the stage it was signed for. Only a new decision leads to a later stage.
2. One approver or the holder may sign a roll-back to any earlier stage of the plan, or to nobody.
3. Where an entry after the stage's beginning fulfils one of the stage's roll-back conditions, the
   decision stands in the stage before, from that entry on, whether or not anybody records it: who
   only writes the log can hold a roll-back back as little as they can make one up.
4. An unsigned entry `stage_rolled_back` records exactly the next such step: it names the condition
   as the plan does and the entry that fulfils it. Any other unsigned one changes nothing.
5. After an automatic roll-back, what counts against the stage that follows stands after the entry
   that was cited; after a signed one, after that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Decision, Trust
from dutchdoor.evidence.incidents import Incident, open_incident
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.reaudit import Due, Renewal
from dutchdoor.evidence.rollback import NOBODY, RollBack, narrowed, open_roll_back, places
from dutchdoor.evidence.terms import Condition
from dutchdoor.evidence.triggers import FlagRate, TriggerKind, check_trigger, fulfils, is_flagged

__all__ = ["STAGE_KINDS", "TRAFFIC_KINDS", "Fall", "Incidents", "Placed", "Stages", "check_plan"]

STAGE_KINDS = frozenset({EntryKind.STAGE_ROLLED_BACK, EntryKind.INCIDENT_RECORDED})
TRAFFIC_KINDS = frozenset({EntryKind.INFERENCE_BEGUN, EntryKind.INFERENCE_DONE})


@dataclass(frozen=True)
class Placed:
    """One revision of an incident, where and when it stands in the log, and the one before it."""

    index: int
    time_ms: int
    incident: Incident
    before: Incident | None

    def fulfils(self, row: Condition) -> bool:
        """Whether this revision fulfils `row` and the one before did not: news, not a report."""
        known = self.before is not None and fulfils(row, self.before)
        return fulfils(row, self.incident) and not known


@dataclass(frozen=True)
class Fall:
    """One step back. index, time_ms: of its entry; -1 while it holds and nobody recorded it yet.

    since: entries after it count for the stage that follows.
    """

    claim: RollBack
    since: int
    index: int = -1
    time_ms: int = -1

    @property
    def stage(self) -> str:
        """Where the decision stands after it."""
        return self.claim.stage


@dataclass
class _Followed:
    """A decision, where its entry stands, and what is known since. meters: by stage, since and
    place in the plan."""

    decision: Decision
    index: int
    falls: list[Fall] = field(default_factory=list)
    meters: dict[tuple[str, int, int], FlagRate] = field(default_factory=dict)


def check_plan(decision: Decision) -> None:
    """Raises Invalid: the plan has a roll-back condition that nobody could check."""
    for stage in decision.terms.stages:
        if stage.name == NOBODY:
            raise Invalid("a stage of the plan has no name", code="bad_condition")
        for row in stage.roll_back:
            check_trigger(row)


class Incidents:
    """All incidents recorded, with each revision. Not safe to share."""

    def __init__(self) -> None:
        self._last: dict[str, Incident] = {}
        self._rows: dict[str, list[Placed]] = {}

    def check(self, incident: Incident) -> None:
        """Raises Invalid: it is not the next revision of that incident."""
        incident.follows(self._last.get(incident.id))

    def take(self, index: int, time_ms: int, incident: Incident) -> None:
        """Take in what was checked."""
        placed = Placed(index, time_ms, incident, self._last.get(incident.id))
        self._last[incident.id] = incident
        self._rows.setdefault(incident.bundle, []).append(placed)

    def bundles(self) -> Sequence[str]:
        """The bundles on which there are any."""
        return tuple(self._rows)

    def of(self, bundle: str) -> Sequence[Placed]:
        """All revisions on this bundle, in the log's order."""
        return tuple(self._rows.get(bundle, ()))


class Stages:
    """Follows decisions, incidents, dues, traffic and roll-backs. The register's lock is held."""

    def __init__(self, trust: Trust) -> None:
        self.incidents = Incidents()
        self._trust = trust
        self._followed: dict[str, _Followed] = {}
        self._latest: dict[str, str] = {}
        self._dues: dict[str, list[tuple[int, Due]]] = {}
        self._settled: dict[str, int] = {}
        self._running: dict[str, str] = {}
        self._metered: set[str] = set()

    @property
    def metered(self) -> bool:
        """Whether what the guard says of traffic can roll any decision back."""
        return bool(self._metered)

    def decided(self, index: int, decision: Decision) -> None:
        """Follow a decision from its entry on; it takes the place of the one before."""
        self._metered.discard(self._latest.get(decision.bundle, ""))
        self._latest[decision.bundle] = decision.id
        self._followed[decision.id] = _Followed(decision, index)
        rows = [row for stage in decision.terms.stages for row in stage.roll_back]
        if any(row.kind == TriggerKind.FLAG_RATE for row in rows):
            self._metered.add(decision.id)

    def reviewed(self, index: int, time_ms: int, found: object) -> None:
        """Take note of a due or a renewal that counts (`reviews`)."""
        if isinstance(found, Due):
            self._dues.setdefault(found.bundle, []).append((index, found))
        elif isinstance(found, Renewal):
            for name in found.dues:
                self._settled.setdefault(name, time_ms)

    def check(self, entry: Entry) -> Incident | RollBack:
        """What `entry` states. Raises Invalid: it would change nothing, and why."""
        if entry.kind is EntryKind.INCIDENT_RECORDED:
            incident = open_incident(entry.body, self._trust)
            self.incidents.check(incident)
            return incident
        claim = open_roll_back(entry.body, self._trust)
        followed = self._followed.get(claim.decision)
        if followed is None or self._latest[followed.decision.bundle] != claim.decision:
            raise Invalid("no such decision stands to be rolled back", code="bad_roll_back")
        if claim.bundle != followed.decision.bundle:
            raise Invalid("the roll-back names another bundle", code="bad_roll_back")
        if claim.trigger is not None:
            self._check_automatic(followed, claim, entry.time_ms)
        else:
            self._check_signed(followed, claim, entry.time_ms)
        return claim

    def take(self, index: int, entry: Entry) -> None:
        """Follow `entry`. Raises Invalid: as `check`; nothing changed then."""
        found = self.check(entry)
        if isinstance(found, Incident):
            self.incidents.take(index, entry.time_ms, found)
            return
        followed = self._followed[found.decision]
        if found.trigger is None:
            # What held unrecorded stays part of what this narrows further.
            for fall in self._pending(followed, entry.time_ms, None):
                followed.falls.append(_recorded(fall.claim, fall.since, index, entry.time_ms))
            followed.falls.append(_recorded(found, index, index, entry.time_ms))
        else:
            followed.falls.append(_recorded(found, found.cited, index, entry.time_ms))

    def traffic(self, index: int, entry: Entry) -> None:
        """Take in an inference's beginning or end, for the guard's rate on traffic."""
        name = str(entry.body.get("inference"))
        if entry.kind is EntryKind.INFERENCE_BEGUN:
            if entry.body.get("decision") in self._metered:
                self._running[name] = str(entry.body["decision"])
            return
        decision = self._running.pop(name, "")
        flagged = is_flagged(entry.body.get("verdicts"))
        followed = self._followed.get(decision)
        if flagged is None or followed is None or decision not in self._metered:
            return
        stage, since = self._place(followed, entry.time_ms)
        terms = followed.decision.terms.stage(stage)
        for number, row in enumerate(terms.roll_back if terms else ()):
            if row.kind == TriggerKind.FLAG_RATE:
                key = (stage, since, number)
                followed.meters.setdefault(key, FlagRate(row.arguments)).feed(index, flagged)

    def falls(self, decision: str, now_ms: int | None, before: int | None = None) -> list[Fall]:
        """All steps back of a signed decision that hold at `now_ms`, recorded or not, in order.

        now_ms: None leaves aside what is due by a date. before: only entries below count.
        """
        followed = self._followed[decision]
        return [
            *(fall for fall in followed.falls if before is None or fall.index < before),
            *self._pending(followed, now_ms, before),
        ]

    def stands(
        self, decision: Decision, now_ms: int | None, before: int | None = None
    ) -> Decision | None:
        """The decision as it stands after its steps back; None where nobody is let in."""
        found: Decision | None = decision
        for fall in self.falls(decision.id, now_ms, before):
            found = None if found is None else narrowed(found, fall.stage)
        return found

    def _place(self, followed: _Followed, now_ms: int | None) -> tuple[str, int]:
        rows = self.falls(followed.decision.id, now_ms)
        return (rows[-1].stage, rows[-1].since) if rows else _start(followed)

    def _pending(self, followed: _Followed, now_ms: int | None, before: int | None) -> list[Fall]:
        """The steps back that hold and that nobody recorded, in order."""
        decision = followed.decision
        recorded = [fall for fall in followed.falls if before is None or fall.index < before]
        last = (recorded[-1].stage, recorded[-1].since) if recorded else _start(followed)
        found: list[Fall] = []
        while True:
            stage, since = last
            hit = self._hit(followed, stage, since, now_ms, before)
            if hit is None:
                return found
            cited, row = hit
            order = places(decision)
            earlier = order[order.index(stage) - 1]
            reason = f"{row.kind}: fulfilled by entry {cited}"
            claim = RollBack(decision.id, decision.bundle, earlier, stage, row, cited, reason)
            found.append(Fall(claim, cited))
            last = (earlier, cited)

    def _hit(
        self, followed: _Followed, stage: str, since: int, now_ms: int | None, before: int | None
    ) -> tuple[int, Condition] | None:
        """The first entry after `since` that fulfils a condition of `stage`, and which."""
        terms = followed.decision.terms.stage(stage)
        hits = []
        for number, row in enumerate(terms.roll_back if terms else ()):
            if row.kind == TriggerKind.FLAG_RATE:
                meter = followed.meters.get((stage, since, number))
                index = None if meter is None else meter.hit
            elif row.kind == TriggerKind.AUDIT_DUE:
                index = self._due(followed.decision.bundle, row, since, now_ms)
            else:
                rows = self.incidents.of(followed.decision.bundle)
                index = next((r.index for r in rows if r.index > since and r.fulfils(row)), None)
            if index is not None and (before is None or index < before):
                hits.append((index, number))
        if not hits or terms is None:
            return None
        index, number = min(hits)
        return index, terms.roll_back[number]

    def _due(self, bundle: str, row: Condition, since: int, now_ms: int | None) -> int | None:
        wanted = row.arguments.get("trigger", "")
        for index, due in self._dues.get(bundle, ()):
            # A renewal that comes after the due's date no longer undoes what the due did.
            settled_ms = self._settled.get(due.id, due.due_ms)
            if (
                index > since
                and now_ms is not None
                and now_ms >= due.due_ms
                and settled_ms >= due.due_ms
                and wanted in ("", due.trigger)
            ):
                return index
        return None

    def _check_automatic(self, followed: _Followed, claim: RollBack, time_ms: int) -> None:
        pending = self._pending(followed, time_ms, None)
        if not pending:
            message = "no condition of the plan is fulfilled, and nobody signed"
            raise Invalid(message, code="bad_roll_back")
        due = pending[0].claim
        if (claim.stage, claim.source, claim.trigger, claim.cited) != (
            due.stage,
            due.source,
            due.trigger,
            due.cited,
        ):
            message = f"the plan's next roll-back is to '{due.stage}', by entry {due.cited}"
            raise Invalid(message, code="bad_roll_back")

    def _check_signed(self, followed: _Followed, claim: RollBack, time_ms: int) -> None:
        stage, _ = self._place(followed, time_ms)
        order = places(followed.decision)
        if claim.source != stage:
            message = f"the decision stands in stage '{stage}', not '{claim.source}'"
            raise Invalid(message, code="bad_roll_back")
        if claim.stage not in order[: order.index(stage)]:
            message = f"'{claim.stage}' is no earlier stage of the plan than '{stage}'"
            hint = "a later stage takes a new decision: dutchdoor release next"
            raise Invalid(message, code="bad_roll_back", hint=hint)


def _start(followed: _Followed) -> tuple[str, int]:
    return followed.decision.stage, followed.index


def _recorded(claim: RollBack, since: int, index: int, time_ms: int) -> Fall:
    return Fall(claim, since, index, time_ms)
