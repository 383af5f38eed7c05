"""A plan replayed against what happened, or against what might, with a clock that moves.

Nothing is written. People are taken to approve each stage at the moment at which its gates are
open; what they would have thought, nobody can replay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dutchdoor.audit.model import Finding, FindingStatus, Severity
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Decision, Trust
from dutchdoor.evidence.incidents import parse_incident
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.reaudit import Due, Renewal
from dutchdoor.evidence.rollback import NOBODY
from dutchdoor.evidence.stages import TRAFFIC_KINDS, Stages
from dutchdoor.evidence.terms import StageTerms
from dutchdoor.ids import DecisionId
from dutchdoor.release.model import DAY_MS
from dutchdoor.release.stages.facts import Audited, Facts, Vote, next_stage
from dutchdoor.release.stages.gates import Gate, State, evaluate, gates_before

__all__ = ["Event", "hypothetical", "simulate"]

DAYS_MAX = 3_650
DIGEST = "sha256:" + "0" * 64


class Event(NamedTuple):
    """Something that would have happened: `entered`, `opened`, `shut`, `unknown` or `rolled_back`.

    unknown: a gate that cannot be told from these entries, and so stays shut.
    """

    time_ms: int
    what: str
    stage: str
    text: str
    evidence: tuple[str, ...]


@dataclass
class _Known:
    """What the entries so far tell, nobody's signature looked at."""

    audit: Audited | None = None
    votes: tuple[Vote, ...] = ()
    dues: tuple[tuple[int, Due], ...] = ()
    settled: frozenset[str] = frozenset()


def simulate(
    decision: Decision,
    entries: Iterable[tuple[int, Entry]],
    audits: Mapping[str, Audited],
    *,
    days_after: int = 0,
) -> tuple[Event, ...]:
    """What a plan would have done, in order.

    decision: names the bundle and holds the plan, whose first stage is entered with the first
    entry. entries: by index, in the log's order. audits: by digest of their summary, what gates
    look at in them. days_after: how long the clock runs on after the last entry.
    Raises Invalid: there is no plan, no entry, or the time spans more than ten years.
    """
    rows = list(entries)
    if not decision.terms.stages or not rows:
        message = "a simulation takes a plan with stages, and entries to replay"
        raise Invalid(message, code="nothing_to_simulate")
    run = _Run(decision, audits, rows[0][1].time_ms)
    end_ms = max(entry.time_ms for _, entry in rows) + days_after * DAY_MS
    if end_ms - run.now_ms > DAYS_MAX * DAY_MS:
        message = f"a simulation spans at most {DAYS_MAX} days"
        raise Invalid(message, code="nothing_to_simulate", hint="take fewer entries")
    for index, entry in rows:
        run.wait(entry.time_ms)
        run.follow(index, entry)
        run.look()
    run.wait(end_ms)
    run.look()
    return tuple(run.events)


def hypothetical(rows: Sequence[Mapping[str, Any]], bundle: str) -> list[tuple[int, Entry]]:
    """Entries that nobody recorded, from plain values: `kind`, `time_ms`, and what matters of the
    body; the rest is made up.

    Raises Invalid: a row is no entry of a kind that the log knows.
    """
    found = []
    for index, row in enumerate(rows):
        try:
            kind, time_ms, body = EntryKind(row["kind"]), row["time_ms"], dict(row.get("body", {}))
        except (KeyError, TypeError, ValueError) as error:
            hint = "a line is an object of kind, time_ms and body"
            message = f"line {index + 1} is no entry"
            raise Invalid(message, code="bad_entry", hint=hint) from error
        if isinstance(time_ms, bool) or not isinstance(time_ms, int) or time_ms < 0:
            raise Invalid(f"line {index + 1} has no time", code="bad_entry")
        given = {**_made_up(kind, index, time_ms), **body}
        found.append((index, Entry(kind, time_ms, {"bundle": bundle, **given})))
    return found


class _Run:
    """One run: the clock, what is known, and where the plan stands."""

    def __init__(self, decision: Decision, audits: Mapping[str, Audited], now_ms: int) -> None:
        self.events: list[Event] = []
        self.now_ms = now_ms
        self._plan = decision.terms.stages
        self._audits = audits
        self._known = _Known()
        # Its trust is never asked: nothing here is judged by signatures.
        self._stages = Stages(Trust("", b"", {}, {}, 1))
        self._template = decision
        self._last = -1
        self._told: dict[str, State] = {}
        self._began_ms = now_ms
        self._steps = 0
        self._entered = 0
        self._enter(self._plan[0], ())

    def wait(self, until_ms: int) -> None:
        """Let the days pass, looking once a day."""
        while self.now_ms + DAY_MS <= until_ms:
            self.now_ms += DAY_MS
            self.look()
        self.now_ms = max(self.now_ms, until_ms)

    def follow(self, index: int, entry: Entry) -> None:
        """Take one entry in. Raises Invalid: its body is not of its kind."""
        self._last = index
        body = entry.body
        if entry.kind in TRAFFIC_KINDS:
            if entry.kind is EntryKind.INFERENCE_BEGUN:
                body = {**body, "decision": self._decision.id}
            self._stages.traffic(index, replace(entry, body=body))
            return
        if body.get("bundle") != self._template.bundle:
            return
        try:
            self._take(index, entry)
        except (KeyError, TypeError, ValueError) as error:
            message = f"entry {index} is no {entry.kind}"
            raise Invalid(message, code="bad_entry", hint="docs/reference/entries.md") from error

    def look(self) -> None:
        """Fall back where the plan says so; enter the next stage where all its gates are open."""
        falls = self._stages.falls(self._decision.id, self.now_ms)
        for fall in falls[self._steps :]:
            self._began_ms = self.now_ms
            self._say("rolled_back", fall.stage or "nobody", fall.claim.reason, (fall.claim.cited,))
        self._steps = len(falls)
        stage = falls[-1].stage if falls else self._decision.stage
        coming = next_stage(self._plan, stage)
        if coming is not None:
            self._judge(coming, self._facts(stage, falls[-1].since if falls else self._entered))

    def _judge(self, coming: StageTerms, facts: Facts) -> None:
        answers = [evaluate(gate, facts) for gate in gates_before(self._plan, coming)]
        open_now = True
        for answer in answers:
            if answer.gate.kind == Gate.APPROVALS:
                continue  # People approve as soon as they are asked.
            open_now = open_now and answer.met
            words = ", ".join(f"{k} {v}" for k, v in sorted(answer.gate.arguments.items()))
            name = f"{coming.name}: {answer.gate.kind} {words}".strip()
            was = self._told.get(name)
            unknown = answer.state is State.UNKNOWN
            if (was is not answer.state) if unknown else answer.met != (was is State.MET):
                what = "unknown" if unknown else "opened" if answer.met else "shut"
                text = f"{answer.gate.kind}: {answer.text}"
                self.events.append(Event(self.now_ms, what, coming.name, text, answer.evidence))
            self._told[name] = answer.state
        if open_now:
            self._enter(coming, tuple(row for answer in answers for row in answer.evidence))

    def _enter(self, stage: StageTerms, evidence: tuple[str, ...]) -> None:
        self._decision = replace(
            self._template,
            id=DecisionId(f"simulated_{len(self.events)}"),
            stage=stage.name,
            level=stage.level,
            audiences=stage.audiences,
        )
        self._entered, self._began_ms, self._steps = self._last, self.now_ms, 0
        self._stages.decided(self._last, self._decision)
        self._told.clear()
        text = "all its gates are open" if evidence else "the plan begins"
        self.events.append(Event(self.now_ms, "entered", stage.name, text, evidence))

    def _facts(self, stage: str, since: int) -> Facts:
        coming = [
            (index, due)
            for index, due in self._known.dues
            if due.due_ms <= self.now_ms and due.id not in self._known.settled
        ]
        return Facts(
            now_ms=self.now_ms,
            stage=stage if stage != NOBODY else "",
            since_index=since,
            since_ms=self._began_ms,
            audit=self._known.audit,
            incidents=self._stages.incidents.of(self._template.bundle),
            votes=self._known.votes,
            current=None if self._known.audit is None else not coming,
            current_by=tuple(f"entry {index}" for index, _ in coming),
        )

    def _take(self, index: int, entry: Entry) -> None:
        body, known = entry.body, self._known
        if entry.kind is EntryKind.INCIDENT_RECORDED:
            self._stages.incidents.take(index, entry.time_ms, parse_incident(body))
        elif entry.kind is EntryKind.AUDIT_SIGNED:
            known.audit = self._audit(index, body)
            audited = frozenset(due.id for _, due in known.dues)
            known.settled |= audited
        elif entry.kind is EntryKind.AUDIT_DUE:
            fields = {name: body[name] for name in ("audit", "bundle", "trigger", "detail")}
            due = Due(body["due"], **fields, due_ms=body["due_ms"], grace_ms=body["grace_ms"])
            known.dues += ((index, due),)
            self._stages.reviewed(index, entry.time_ms, due)
        elif entry.kind is EntryKind.AUDIT_RENEWED:
            dues = tuple(body["dues"])
            renewal = Renewal(body["renewal"], "", body["bundle"], dues, "", entry.time_ms)
            known.settled |= frozenset(dues)
            self._stages.reviewed(index, entry.time_ms, renewal)
        elif entry.kind is EntryKind.PANEL_CLOSED:
            said = (body["panel"], body["question"], body["outcome"])
            known.votes += (Vote(*said, bool(body["quorum_met"]), index),)

    def _audit(self, index: int, body: Mapping[str, Any]) -> Audited:
        at_hand = self._audits.get(str(body["summary"]))
        if at_hand is not None:
            return replace(at_hand, index=index)
        rows = body.get("findings")
        findings = None if rows is None else tuple(_finding(row) for row in rows)
        return Audited(str(body["summary"]), index, findings, body.get("card"), DIGEST)

    def _say(self, what: str, stage: str, text: str, cited: tuple[int, ...]) -> None:
        shown = tuple(f"entry {index}" for index in cited)
        self.events.append(Event(self.now_ms, what, stage, text, shown))


def _finding(row: Mapping[str, Any]) -> Finding:
    return Finding(
        id=str(row["id"]),
        severity=Severity(row["severity"]),
        principle="",
        harm="",
        text="",
        status=FindingStatus(row["status"]),
    )


def _made_up(kind: EntryKind, index: int, time_ms: int) -> dict[str, Any]:
    if kind is EntryKind.INCIDENT_RECORDED:
        return {
            "incident": f"incident_{index}",
            "revision": 1,
            "class": "serious",
            "nature": "other",
            "aware_ms": time_ms,
            "resolved_ms": 0,
            "report": "",
            "details": DIGEST,
        }
    if kind is EntryKind.AUDIT_DUE:
        return {
            "due": f"due_{index}",
            "audit": "",
            "trigger": "incident",
            "detail": "made up",
            "due_ms": time_ms,
            "grace_ms": 0,
        }
    if kind is EntryKind.AUDIT_RENEWED:
        return {"renewal": f"renewal_{index}", "dues": []}
    if kind is EntryKind.AUDIT_SIGNED:
        return {"summary": DIGEST}
    if kind is EntryKind.PANEL_CLOSED:
        return {"panel": f"panel_{index}", "question": "", "quorum_met": True}
    return {}
