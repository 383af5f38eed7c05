"""What a decision settles besides level and audiences: components, stages, duties, custody.

All of it is signed with the decision (`Decision.terms`); a decision without such terms has the
bytes it always had. The words' meaning is the room `release`'s: here is only the form, so that an
outside verifier can read a decision without knowing how it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from dutchdoor.errors import Invalid
from dutchdoor.evidence.openness import Audience, Depth, Level

__all__ = [
    "NO_TERMS",
    "ComponentAccess",
    "ComponentTerms",
    "Condition",
    "Contact",
    "CustodyTerms",
    "OutsideTerms",
    "Reference",
    "RuntimeTerms",
    "StageTerms",
    "Terms",
]

T = TypeVar("T")

ROWS_MAX = 64
TEXT_CHARS_MAX = 4_000


class ComponentAccess(StrEnum):
    """How one component is shared; the gradient once more, for a part."""

    CLOSED = "closed"
    AUDITORS = "auditors"
    VETTED = "vetted"
    SERVED = "served"
    GATED_DOWNLOAD = "gated_download"
    PUBLIC = "public"


@dataclass(frozen=True)
class ComponentTerms:
    """One of the framework's 17 components: how it is shared, under which licence (SPDX id)."""

    name: str
    access: ComponentAccess
    licence: str = ""
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Condition:
    """A condition that a program can check: a gate's, or one that rolls a stage back.

    kind: of a closed vocabulary (`release.stages`). arguments: by name, as text; numbers too.
    """

    kind: str
    arguments: Mapping[str, str]


@dataclass(frozen=True)
class StageTerms:
    """One stage of the plan, in order; a later one may open more.

    gates: all must hold before it is proposed. observation_days: how long the stage before must
    have been in force. roll_back: any one of these ends the stage and falls back to the one before.
    """

    name: str
    level: Level
    audiences: tuple[Audience, ...]
    gates: tuple[Condition, ...] = ()
    observation_days: int = 30
    roll_back: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Reference:
    """Something that the decision rests on, by digest: a worksheet, an estimate, a vote."""

    name: str
    digest: str


@dataclass(frozen=True)
class OutsideTerms:
    """A condition that somebody outside imposed, or an approval that is theirs to give.

    duty: `condition`, `licence` or `non_objection`. key: the key id that must sign the decision;
    "" where the duty is no signature.
    """

    by: str
    duty: str
    text: str
    key: str = ""


@dataclass(frozen=True)
class Contact:
    """Who answers for what: `liability`, `reporting`, `incident`, `press`."""

    role: str
    name: str
    address: str


@dataclass(frozen=True)
class CustodyTerms:
    """What custody must be like; 0 or "" asks for nothing.

    shares_min: shares an opening needs at least. custodians_min: of how many. copies_max: sealed
    copies known. grade: `software`, `tpm` or `tee`.
    """

    shares_min: int = 0
    custodians_min: int = 0
    copies_max: int = 0
    grade: str = ""


@dataclass(frozen=True)
class RuntimeTerms:
    """What the running system must be like; 0 asks for nothing.

    egress_bytes_day_max: bytes that may leave the runtime a day. hardening: protections that must
    be on, by their names in `doctor`. tools: whether tool calls and agents are allowed.
    """

    egress_bytes_day_max: int = 0
    hardening: tuple[str, ...] = ()
    tools: bool = True


@dataclass(frozen=True)
class Terms:
    """The structured part of a decision.

    profile: the deployment profile it was made under. void_if: conditions under which the reasons
    fail. review_by_ms: 0, or when it must be looked at again; it ends then if it was not renewed.
    """

    profile: str = ""
    components: tuple[ComponentTerms, ...] = ()
    stages: tuple[StageTerms, ...] = ()
    safety_margin: str = ""
    void_if: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    limitations: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    outside: tuple[OutsideTerms, ...] = ()
    contacts: tuple[Contact, ...] = ()
    custody: CustodyTerms = CustodyTerms()
    runtime: RuntimeTerms = RuntimeTerms()
    review_by_ms: int = 0

    @property
    def outside_keys(self) -> frozenset[str]:
        """Key ids of those outside who must sign besides the approvers."""
        return frozenset(row.key for row in self.outside if row.key)

    def stage(self, name: str) -> StageTerms | None:
        """The stage of that name, or None."""
        return next((row for row in self.stages if row.name == name), None)

    def to_body(self) -> dict[str, Any]:
        """Canonical values only."""
        return {
            "profile": self.profile,
            "components": [
                {
                    "name": row.name,
                    "access": str(row.access),
                    "licence": row.licence,
                    "conditions": list(row.conditions),
                }
                for row in self.components
            ],
            "stages": [_stage_body(row) for row in self.stages],
            "safety_margin": self.safety_margin,
            "void_if": list(self.void_if),
            "heard": list(self.heard),
            "limitations": list(self.limitations),
            "references": [{"name": row.name, "digest": row.digest} for row in self.references],
            "outside": [
                {"by": row.by, "duty": row.duty, "text": row.text, "key": row.key}
                for row in self.outside
            ],
            "contacts": [
                {"role": row.role, "name": row.name, "address": row.address}
                for row in self.contacts
            ],
            "custody": {
                "shares_min": self.custody.shares_min,
                "custodians_min": self.custody.custodians_min,
                "copies_max": self.custody.copies_max,
                "grade": self.custody.grade,
            },
            "runtime": {
                "egress_bytes_day_max": self.runtime.egress_bytes_day_max,
                "hardening": list(self.runtime.hardening),
                "tools": self.runtime.tools,
            },
            "review_by_ms": self.review_by_ms,
        }

    @classmethod
    def from_body(cls, body: Any) -> Terms:
        """The terms of a decision's body (unverified), or of the same fields in plain values.

        Raises Invalid: a field is missing, unknown, too long or of the wrong type.
        """
        try:
            terms = _from_body(body)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            hint = "docs/reference/decision.md has the fields"
            raise Invalid(
                f"not a decision's terms: {error}", code="bad_terms", hint=hint
            ) from error
        if terms.to_body() != body:
            raise Invalid("a decision's terms with unknown fields", code="bad_terms")
        names = [row.name for row in terms.stages]
        parts = [row.name for row in terms.components]
        if len(set(names)) < len(names) or len(set(parts)) < len(parts):
            raise Invalid("a stage or a component is named twice", code="bad_terms")
        return terms


NO_TERMS = Terms()
"""A decision that settles nothing besides level, audiences and guard."""


def _stage_body(row: StageTerms) -> dict[str, Any]:
    return {
        "name": row.name,
        "level": str(row.level),
        "audiences": [
            {"name": a.name, "depths": [str(d) for d in a.depths], "people": list(a.people)}
            for a in row.audiences
        ],
        "gates": [_condition_body(gate) for gate in row.gates],
        "observation_days": row.observation_days,
        "roll_back": [_condition_body(trigger) for trigger in row.roll_back],
    }


def _condition_body(row: Condition) -> dict[str, Any]:
    return {"kind": row.kind, "arguments": dict(row.arguments)}


def _from_body(body: Mapping[str, Any]) -> Terms:
    custody, runtime = body["custody"], body["runtime"]
    return Terms(
        profile=_text(body["profile"]),
        components=_rows(body["components"], _component),
        stages=_rows(body["stages"], _stage),
        safety_margin=_text(body["safety_margin"]),
        void_if=_rows(body["void_if"], _text),
        heard=_rows(body["heard"], _text),
        limitations=_rows(body["limitations"], _text),
        references=_rows(
            body["references"], lambda r: Reference(_text(r["name"]), _text(r["digest"]))
        ),
        outside=_rows(
            body["outside"],
            lambda r: OutsideTerms(
                _text(r["by"]), _text(r["duty"]), _text(r["text"]), _text(r["key"])
            ),
        ),
        contacts=_rows(
            body["contacts"],
            lambda r: Contact(_text(r["role"]), _text(r["name"]), _text(r["address"])),
        ),
        custody=CustodyTerms(
            _count(custody["shares_min"]),
            _count(custody["custodians_min"]),
            _count(custody["copies_max"]),
            _text(custody["grade"]),
        ),
        runtime=RuntimeTerms(
            _count(runtime["egress_bytes_day_max"]),
            _rows(runtime["hardening"], _text),
            _flag(runtime["tools"]),
        ),
        review_by_ms=_count(body["review_by_ms"]),
    )


def _component(row: Any) -> ComponentTerms:
    access = ComponentAccess(_text(row["access"]))
    conditions = _rows(row["conditions"], _text)
    return ComponentTerms(_text(row["name"]), access, _text(row["licence"]), conditions)


def _stage(row: Any) -> StageTerms:
    return StageTerms(
        name=_text(row["name"]),
        level=Level(_text(row["level"])),
        audiences=_rows(row["audiences"], _audience),
        gates=_rows(row["gates"], _condition),
        observation_days=_count(row["observation_days"]),
        roll_back=_rows(row["roll_back"], _condition),
    )


def _audience(row: Any) -> Audience:
    depths = _rows(row["depths"], lambda word: Depth(_text(word)))
    return Audience(_text(row["name"]), depths, _rows(row["people"], _text))


def _condition(row: Any) -> Condition:
    arguments = {_text(key): _text(value) for key, value in row["arguments"].items()}
    return Condition(_text(row["kind"]), arguments)


def _rows(value: Any, read: Callable[[Any], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or len(value) > ROWS_MAX:
        raise TypeError(f"not a list of at most {ROWS_MAX} rows")
    return tuple(read(row) for row in value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > TEXT_CHARS_MAX:
        raise TypeError(f"not a text of at most {TEXT_CHARS_MAX} characters")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError("not a whole number")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value
