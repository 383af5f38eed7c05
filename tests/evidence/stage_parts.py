"""A plan of three stages, incidents and roll-backs, for tests of what a stage leaves open."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

from dutchdoor.evidence.decision import Audience, Decision, Depth, Level
from dutchdoor.evidence.incidents import INCIDENT_KIND, Incident, IncidentClass, IncidentNature
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.rollback import ROLL_BACK_KIND, RollBack
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.evidence.terms import Condition, StageTerms, Terms
from dutchdoor.ids import DecisionId
from tests.evidence.parts import ALICE, BEGIN_MS, BUNDLE, DECISION, TestSigner

SERIOUS = Condition("incident_at_least", {"class": "serious"})
LEAK = Condition("leak_reported", {})
DUE = Condition("audit_due", {})
FLAGS = Condition("guard_flag_rate", {"above": "0.5", "inferences": "4"})
AUDITORS = Audience("auditor", (Depth.SAMPLING, Depth.AUDIT))
FEW = Audience("researcher", (Depth.SAMPLING,), ("person_1", "person_2"))
ALL = Audience("researcher", (Depth.SAMPLING, Depth.LOGPROBS))
DEVELOPERS = Audience("developer", (Depth.SAMPLING, Depth.DECODING_CONTROL))
FIRST = StageTerms("few", Level.GRADUAL_STAGED, (AUDITORS, FEW), roll_back=(LEAK, SERIOUS))
SECOND = StageTerms("all", Level.CLOUD_API, (ALL,), roll_back=(SERIOUS, DUE, FLAGS))
THIRD = StageTerms("wide", Level.CLOUD_API, (ALL, DEVELOPERS), roll_back=(SERIOUS, DUE, FLAGS))
PLAN = (FIRST, SECOND, THIRD)


def at_stage(number: int, plan: tuple[StageTerms, ...] = PLAN, name: str = "") -> Decision:
    """A decision at stage `number` of `plan`, from 1 on."""
    stage = plan[number - 1]
    return replace(
        DECISION,
        id=DecisionId(name or f"decision_at_{number}"),
        level=stage.level,
        stage=stage.name,
        audiences=stage.audiences,
        terms=Terms(stages=plan),
    )


def incident_entry(
    grade: str = "serious",
    nature: str = "other",
    /,
    *,
    signer: TestSigner = ALICE,
    name: str = "incident_1",
    revision: int = 1,
    aware_ms: int = BEGIN_MS,
    **said: Any,
) -> Entry:
    """A recorded incident; `said` makes the entry lie about its envelope."""
    incident = Incident(
        name,
        revision,
        said.pop("of", BUNDLE),
        IncidentClass(grade),
        IncidentNature(nature),
        aware_ms,
        0,
        "",
        "sha256:" + "3" * 64,
    )
    body = incident.to_body()
    envelope = base64.b64encode(sign_statement(INCIDENT_KIND, dict(body), [signer])).decode()
    time_ms = said.pop("time_ms", BEGIN_MS)
    return Entry(EntryKind.INCIDENT_RECORDED, time_ms, {**body, "envelope": envelope, **said})


def automatic(
    decision: Decision, source: str, stage: str, trigger: Condition, cited: int, /, **said: Any
) -> Entry:
    """What the supervisor writes: nobody signs it."""
    claim = RollBack(decision.id, decision.bundle, stage, source, trigger, cited, "by itself")
    time_ms = said.pop("time_ms", BEGIN_MS)
    return Entry(EntryKind.STAGE_ROLLED_BACK, time_ms, {**claim.to_body(), **said})


def signed_back(
    decision: Decision, source: str, stage: str, signer: TestSigner = ALICE, /, **said: Any
) -> Entry:
    """A roll-back that somebody signed; `said` makes the entry lie about its envelope."""
    claim = RollBack(decision.id, decision.bundle, stage, source, None, -1, "too early")
    envelope = base64.b64encode(sign_statement(ROLL_BACK_KIND, claim.claim(), [signer])).decode()
    return Entry(EntryKind.STAGE_ROLLED_BACK, BEGIN_MS, {**claim.to_body(envelope), **said})
