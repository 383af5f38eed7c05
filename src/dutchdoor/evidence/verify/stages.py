"""In which stage of its plan a decision stands, judged a second time from the log's envelopes.

Entries come in the log's order and are judged by what came before them. A step back counts from
the entry that fulfils its condition; an entry `stage_rolled_back` without a signature may record
nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from dutchdoor import canonical
from dutchdoor.errors import Invalid
from dutchdoor.evidence.verify.decisions import Decided
from dutchdoor.evidence.verify.incidents import Incidents
from dutchdoor.evidence.verify.keys import Trusted, open_claim, unbase64
from dutchdoor.evidence.verify.rates import Rate, can_be_checked, flagged
from dutchdoor.evidence.verify.terms import LEVELS

__all__ = ["Stages"]

_NAMES = {"decision", "bundle", "stage", "from", "reason"}
_Row = tuple[str, frozenset[str], frozenset[str]]


class _Step(NamedTuple):
    """A step back to a place in the plan: what it says there, and the entry that fulfils it."""

    place: int
    condition: Mapping[str, Any]
    cited: int


@dataclass
class _Plan:
    """A decision's plan up to its own stage: nobody first. falls: places it fell back to.

    since: what stands after that entry counts against the place it is at.
    """

    bundle: str
    level: str
    audiences: list[_Row]
    rows: list[Mapping[str, Any]]
    since: int
    falls: list[int] = field(default_factory=list)
    rates: dict[tuple[int, int, int], Rate] = field(default_factory=dict)

    @property
    def place(self) -> int:
        return self.falls[-1] if self.falls else len(self.rows) - 1

    def name(self, place: int) -> str:
        return str(self.rows[place]["name"])


class Stages:
    """Follows decisions, incidents, what makes audits due, traffic, and steps back."""

    def __init__(self, trusted: Trusted) -> None:
        self.incidents = Incidents(trusted)
        self._trusted = trusted
        self._plans: dict[str, _Plan] = {}
        self._current: dict[str, str] = {}
        # By bundle: where a due stands, its id, its trigger, its date.
        self._dues: dict[str, list[tuple[int, str, str, int]]] = {}
        self._settled: dict[str, int] = {}
        self._running: dict[str, str] = {}

    def problem(self, entry: Mapping[str, Any]) -> str:
        """Why the plan of an entry's decision (unverified) could not be followed, or ''."""
        try:
            stages = _claim(entry)["terms"]["stages"]
            rows = [row for stage in stages for row in stage["roll_back"]]
            fits = all(stage["name"] for stage in stages) and all(map(can_be_checked, rows))
        except (Invalid, KeyError, TypeError, AttributeError):
            return ""  # No plan, or no decision: whoever reads decisions says which.
        return "" if fits else "the decision has a plan that nobody could check"

    def decide(self, index: int, entry: Mapping[str, Any]) -> None:
        """Follow a decision whose entry brought it into force."""
        claim = _claim(entry)
        stages = claim["terms"]["stages"] if "terms" in claim else []
        own = {"name": claim["stage"], "roll_back": []}
        names = [row["name"] for row in stages]
        rows = stages[: names.index(claim["stage"]) + 1] if stages else [own]
        self._plans[claim["id"]] = _Plan(
            entry["bundle"],
            claim["level"],
            _rows(claim["audiences"]),
            [{"name": "", "roll_back": []}, *rows],
            index,
        )
        self._current[entry["bundle"]] = claim["id"]

    def bring_up(self, index: int, body: Mapping[str, Any]) -> None:
        """Take note of an `audit_due` that counts."""
        row = (index, body["due"], body["trigger"], body["due_ms"])
        self._dues.setdefault(body["bundle"], []).append(row)

    def renew(self, time_ms: int, body: Mapping[str, Any]) -> None:
        """Take note of an `audit_renewed` that counts."""
        for name in body["dues"]:
            self._settled.setdefault(name, time_ms)

    def begin(self, body: Mapping[str, Any]) -> None:
        """Take note of an inference that began."""
        self._running[body["inference"]] = body["decision"]

    def end(self, index: int, time_ms: int, body: Mapping[str, Any]) -> None:
        """Take note of an inference that ended, and of what the guard said of it."""
        decision = self._running.pop(body["inference"], "")
        plan, flag = self._plans.get(decision), flagged(body.get("verdicts"))
        if plan is None or flag is None or self._current[plan.bundle] != decision:
            return
        place, since = self._where(plan, time_ms)
        for number, row in enumerate(plan.rows[place]["roll_back"]):
            if row["kind"] == "guard_flag_rate":
                key = (place, since, number)
                plan.rates.setdefault(key, Rate(row["arguments"])).add(index, flag)

    def roll_back(self, index: int, time_ms: int, body: Mapping[str, Any]) -> str:
        """Carry out a `stage_rolled_back`; gives what forbids it, or ''."""
        if body.keys() != {*_NAMES, "trigger", "envelope"} or not body["reason"].strip():
            return "a roll-back: fields missing or unknown"
        plan = self._plans.get(body["decision"])
        if plan is None or self._current[plan.bundle] != body["decision"]:
            return "a roll-back of a decision that does not stand"
        if plan.bundle != body["bundle"]:
            return "a roll-back names another bundle"
        steps = list(self._steps(plan, time_ms))
        if body["envelope"]:
            return self._signed(index, plan, steps, body)
        if not steps:
            return "a roll-back that nobody signed, and no condition of the plan is fulfilled"
        step = steps[0]
        expected = {
            "stage": plan.name(step.place),
            "from": plan.name(plan.place),
            "trigger": {**step.condition, "entry": step.cited},
        }
        said = {name: body[name] for name in expected}
        if canonical.encode(said) != canonical.encode(expected):
            return "a roll-back that nobody signed is not the plan's next one"
        plan.falls.append(step.place)
        plan.since = step.cited
        return ""

    def narrowed(self, found: Decided, time_ms: int) -> Decided | str:
        """The decision in force as its stage leaves it, or why it lets nobody in."""
        plan = self._plans[found.id]
        falls = [*plan.falls, *(step.place for step in self._steps(plan, time_ms))]
        if not falls:
            return found
        level, audiences = plan.level, plan.audiences
        for place in falls:
            row = plan.rows[place]
            audiences = list(_both(audiences, _rows(row["audiences"]))) if place else []
            level = min(level, row["level"], key=LEVELS.index) if place else level
        if not audiences:
            return f"{found.id} was rolled back, and lets nobody in"
        pairs = tuple((depths, people) for _, depths, people in audiences)
        return replace(found, audiences=pairs, level=level)

    def _signed(self, index: int, plan: _Plan, steps: list[_Step], body: Mapping[str, Any]) -> str:
        keys = {**self._trusted.holder, **self._trusted.approvers}
        try:
            claim = open_claim(unbase64(body["envelope"]), "stage_roll_back", keys, 1)
        except Invalid as error:
            return f"a roll-back: {error.message}"
        if claim != {name: body[name] for name in _NAMES} or body["trigger"] != {}:
            return "a roll-back says something else than its envelope"
        here = steps[-1].place if steps else plan.place
        earlier = [plan.name(place) for place in range(here)]
        if body["from"] != plan.name(here) or body["stage"] not in earlier:
            return "a roll-back that leads not to an earlier stage"
        plan.falls += [step.place for step in steps]
        plan.falls.append(earlier.index(body["stage"]))
        plan.since = index
        return ""

    def _where(self, plan: _Plan, time_ms: int) -> tuple[int, int]:
        place, since = plan.place, plan.since
        for step in self._steps(plan, time_ms):
            place, since = step.place, step.cited
        return place, since

    def _steps(self, plan: _Plan, time_ms: int) -> Iterator[_Step]:
        """The steps back that hold at `time_ms` and were not recorded."""
        place, since = plan.place, plan.since
        while place:
            conditions = plan.rows[place]["roll_back"]
            found = [
                (cited, number)
                for number, row in enumerate(conditions)
                if (cited := self._cited(plan, row, (place, since, number), time_ms)) >= 0
            ]
            if not found:
                return
            since, number = min(found)
            place -= 1
            yield _Step(place, conditions[number], since)

    def _cited(
        self, plan: _Plan, row: Mapping[str, Any], key: tuple[int, int, int], time_ms: int
    ) -> int:
        """The first entry that fulfils a condition, or -1."""
        since, words = key[1], row["arguments"]
        if row["kind"] == "guard_flag_rate":
            return plan.rates[key].passed if key in plan.rates else -1
        if row["kind"] == "audit_due":
            for index, name, trigger, due_ms in self._dues.get(plan.bundle, ()):
                comes = index > since and due_ms <= time_ms
                meant = words.get("trigger", "") in ("", trigger)
                if comes and meant and self._settled.get(name, due_ms) >= due_ms:
                    return index
            return -1
        return self.incidents.first(plan.bundle, row["kind"], words.get("class", ""), since)


def _claim(entry: Mapping[str, Any]) -> Any:
    envelope = canonical.parse(unbase64(entry["envelope"]))
    return canonical.parse(unbase64(envelope["payload"]))["body"]


def _rows(audiences: list[Mapping[str, Any]]) -> list[_Row]:
    return [(a["name"], frozenset(a["depths"]), frozenset(a["people"])) for a in audiences]


def _both(ours: list[_Row], theirs: list[_Row]) -> Iterator[_Row]:
    for name, depths, people in ours:
        for other, deep, named in theirs:
            left = people & named if people and named else people | named
            if name == other and depths & deep and (left or not (people or named)):
                yield name, depths & deep, left
