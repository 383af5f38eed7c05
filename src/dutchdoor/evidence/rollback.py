"""Falling back to an earlier stage of a decision's own plan: the statement, and what is left.

A roll-back only ever narrows: whom a decision lets in afterwards, the stage it falls back to and
the decision as it stood both let in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Audience, Decision, Trust
from dutchdoor.evidence.note import decode_base64
from dutchdoor.evidence.openness import Level
from dutchdoor.evidence.statement import open_statement
from dutchdoor.evidence.terms import Condition

__all__ = ["NOBODY", "ROLL_BACK_KIND", "RollBack", "narrowed", "open_roll_back", "places"]

ROLL_BACK_KIND = "stage_roll_back"
NOBODY = ""
"""The stage in which nobody is let in: before every other one."""


@dataclass(frozen=True)
class RollBack:
    """What an entry `stage_rolled_back` says.

    stage, source: to which stage, from which. trigger: the plan's condition, None where people
    decided it and signed. cited: index of the entry that fulfils it, -1 where people decided.
    """

    decision: str
    bundle: str
    stage: str
    source: str
    trigger: Condition | None
    cited: int
    reason: str

    def to_body(self, envelope: str = "") -> dict[str, Any]:
        """The entry's body. envelope: base64 of the signed statement, "" for an automatic one."""
        trigger = {} if self.trigger is None else _trigger_body(self.trigger, self.cited)
        return {**self.claim(), "trigger": trigger, "envelope": envelope}

    def claim(self) -> dict[str, Any]:
        """The statement's body, where people sign it."""
        return {
            "decision": self.decision,
            "bundle": self.bundle,
            "stage": self.stage,
            "from": self.source,
            "reason": self.reason,
        }


def open_roll_back(body: Mapping[str, Any], trust: Trust) -> RollBack:
    """The roll-back of an entry's body (unverified).

    Signed, it is one approver's or the holder's. Unsigned, it is only a claim: whoever follows the
    log (`stages`) must find its trigger in the decision's plan and fulfilled.
    Raises Invalid: malformed, wrongly signed, or the entry says other than its envelope.
    """
    names = {"decision", "bundle", "stage", "from", "reason", "trigger", "envelope"}
    if body.keys() != names:
        raise Invalid("a roll-back's fields are missing or unknown", code="bad_roll_back")
    texts = {name: body[name] for name in names - {"trigger"}}
    if not all(isinstance(text, str) for text in texts.values()) or not texts["reason"].strip():
        raise Invalid("a roll-back says what, from where and why", code="bad_roll_back")
    envelope = texts.pop("envelope")
    trigger, cited = _trigger(body["trigger"])
    if envelope:
        if trigger is not None:
            raise Invalid("a signed roll-back has no trigger", code="bad_roll_back")
        keys = {**trust.holder, **trust.approvers}
        data = decode_base64(envelope, code="bad_roll_back")
        claim = open_statement(data, kind=ROLL_BACK_KIND, keys=keys, signatures_min=1).body
        if claim != texts:
            message = "the entry says something else than its envelope"
            raise Invalid(message, code="bad_roll_back")
    elif trigger is None:
        raise Invalid("neither signed nor triggered", code="bad_roll_back")
    return RollBack(
        texts["decision"],
        texts["bundle"],
        texts["stage"],
        texts["from"],
        trigger,
        cited,
        texts["reason"],
    )


def places(decision: Decision) -> tuple[str, ...]:
    """The stages of the decision's plan up to its own, in order; `NOBODY` is the first."""
    names = [row.name for row in decision.terms.stages]
    if decision.stage not in names:
        return (NOBODY, decision.stage)
    return (NOBODY, *names[: names.index(decision.stage) + 1])


def narrowed(decision: Decision, stage: str) -> Decision | None:
    """The decision once it fell back to `stage` of its plan; None where it lets nobody in then."""
    terms = decision.terms.stage(stage)
    if terms is None:
        return None
    met = (_meet(mine, other) for mine in decision.audiences for other in terms.audiences)
    audiences = tuple(row for row in met if row is not None)
    level = min(decision.level, terms.level, key=list(Level).index)
    return replace(decision, stage=stage, level=level, audiences=audiences) if audiences else None


def _meet(one: Audience, two: Audience) -> Audience | None:
    """Whom both rows let in, as deep as both do; None for nobody."""
    depths = tuple(depth for depth in one.depths if depth in two.depths)
    people = tuple(person for person in one.people if not two.people or person in two.people)
    if not one.people:
        people = two.people
    # An empty list of people means everybody: where two lists share nobody, there is no row.
    nobody = bool(one.people or two.people) and not people
    if one.name != two.name or not depths or nobody:
        return None
    return Audience(one.name, depths, people)


def _trigger(value: Any) -> tuple[Condition | None, int]:
    if value == {} and isinstance(value, dict):
        return None, -1
    if (
        not isinstance(value, dict)
        or value.keys() != {"kind", "arguments", "entry"}
        or not isinstance(value["kind"], str)
        or not isinstance(value["arguments"], dict)
        or not all(isinstance(text, str) for text in value["arguments"].values())
        or isinstance(value["entry"], bool)
        or not isinstance(value["entry"], int)
    ):
        raise Invalid("a roll-back's trigger is out of form", code="bad_roll_back")
    return Condition(value["kind"], value["arguments"]), value["entry"]


def _trigger_body(trigger: Condition, cited: int) -> dict[str, Any]:
    return {"kind": trigger.kind, "arguments": dict(trigger.arguments), "entry": cited}
