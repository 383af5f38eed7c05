"""People, grants, budgets, and what a decision about one request looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, NoReturn

from dutchdoor.evidence.decision import Depth
from dutchdoor.ids import BundleDigest, DecisionId, GrantId, KeyId, PersonId

__all__ = [
    "AccessLimits",
    "AccessRequest",
    "Allowed",
    "Amounts",
    "Budget",
    "Caller",
    "ContentMode",
    "Grant",
    "KeyRecord",
    "MonitorMode",
    "Person",
    "PolicyStanding",
    "Refusal",
    "Reservation",
]


@dataclass(frozen=True)
class AccessLimits:
    """The longest texts and the largest figures this room takes in."""

    name_characters_max: int = 200
    purpose_characters_max: int = 2000
    concurrency_max: int = 1000
    amount_max: int = 2**53 - 1


class _Judgment:
    """A decision that must be looked at by its type."""

    def __bool__(self) -> NoReturn:
        # `if access.decide(request):` would let every refusal through.
        raise AssertionError(
            "a judgment has no truth value: ask whether it is Allowed or a Refusal"
        )


class ContentMode(StrEnum):
    """What is kept of an inference's content; the verdict is always kept."""

    FULL = "full"
    REDACTED = "redacted"
    SEALED = "sealed"
    COMMITMENT = "commitment"


class MonitorMode(StrEnum):
    """What the guard does with what it finds: stop it, or only flag it (auditors, red-teamers)."""

    BLOCK = "block"
    OBSERVE = "observe"


@dataclass(frozen=True)
class Person:
    """Somebody who may call. audience: which of a decision's audiences they belong to."""

    id: PersonId
    name: str
    organisation: str
    audience: str
    added_ms: int
    active: bool = True


@dataclass(frozen=True)
class Caller:
    """A person as authenticated, and the key they used."""

    person: Person
    key: KeyId


@dataclass(frozen=True)
class KeyRecord:
    """What is kept of an API key: never the key. not_after_ms: None where it does not expire."""

    id: KeyId
    person: PersonId
    issued_ms: int
    not_after_ms: int | None = None
    revoked_ms: int | None = None


@dataclass(frozen=True)
class Budget:
    """What a grant may release at most over its life; 0 means nothing of it."""

    requests: int
    tokens: int
    vectors: int = 0


@dataclass(frozen=True)
class Amounts:
    """Quantities reserved or used. tokens: prompt and completion together.

    numbers: single log-probabilities; as many as the model is wide are worth one more vector.
    """

    requests: int = 0
    tokens: int = 0
    vectors: int = 0
    numbers: int = 0

    def less(self, other: Amounts) -> Amounts:
        """Each amount less the other's; may fall below zero."""
        return Amounts(
            self.requests - other.requests,
            self.tokens - other.tokens,
            self.vectors - other.vectors,
            self.numbers - other.numbers,
        )


@dataclass(frozen=True)
class Grant:
    """One person's access to one bundle (shown to people as a lease)."""

    id: GrantId
    person: PersonId
    bundle: BundleDigest
    purpose: str
    depths: tuple[Depth, ...]
    budget: Budget
    not_before_ms: int
    not_after_ms: int
    content_mode: ContentMode = ContentMode.COMMITMENT
    monitor_mode: MonitorMode = MonitorMode.BLOCK
    agentic: bool = False
    concurrency_max: int = 4
    active: bool = True

    def to_body(self) -> dict[str, Any]:
        """Its terms as canonical values, for an entry; `active` is no term."""
        return {
            "grant": self.id,
            "person": self.person,
            "bundle": self.bundle,
            "purpose": self.purpose,
            "depths": [str(depth) for depth in self.depths],
            "budget": {
                "requests": self.budget.requests,
                "tokens": self.budget.tokens,
                "vectors": self.budget.vectors,
            },
            "not_before_ms": self.not_before_ms,
            "not_after_ms": self.not_after_ms,
            "content_mode": str(self.content_mode),
            "monitor_mode": str(self.monitor_mode),
            "agentic": self.agentic,
            "concurrency_max": self.concurrency_max,
        }


@dataclass(frozen=True)
class AccessRequest:
    """What somebody asks to do: everything the policies may look at.

    action: `infer`, `read_activations`, `fit_probe`, `amend`, `list_models`. audience_depths: what
    the decision in force opens to this person.
    """

    caller: Caller
    action: str
    bundle: BundleDigest
    decision: DecisionId
    level: str
    stage: str
    depths: frozenset[Depth]
    audience_depths: frozenset[Depth]
    tools: bool = False


@dataclass(frozen=True)
class Allowed(_Judgment):
    """Yes, under this grant, by this rule. reason: the rule's sentence, for people."""

    grant: Grant
    rule: str
    reason: str = ""


@dataclass(frozen=True)
class Refusal(_Judgment):
    """No, and why: `code` for programs, `message` for people, `rule` the rule that decided.

    missing: what would have to be there (a depth, a grant, a budget), for the error's body.
    """

    code: str
    message: str
    rule: str
    hint: str = ""
    missing: tuple[str, ...] = ()
    grant: Grant | None = None

    def to_body(self) -> dict[str, Any]:
        """Canonical values, for an entry and for an error's body."""
        return {
            "code": self.code,
            "message": self.message,
            "rule": self.rule,
            "hint": self.hint,
            "missing": list(self.missing),
            "grant": "" if self.grant is None else self.grant.id,
        }


class PolicyStanding(NamedTuple):
    """Which rules are in force, and what is wrong with their folder ("" where nothing is)."""

    version: str
    problem: str


@dataclass(frozen=True)
class Reservation:
    """Budget set aside before an inference; settled once with what was really used.

    id: the inference's id. vectors_released, vectors_max, hidden_size: the pooled state of the
    bundle after this reservation, for "x of h vectors released". details: what the grant has left
    of each amount.
    """

    id: str
    grant: GrantId
    bundle: BundleDigest
    amounts: Amounts
    vectors_released: int = 0
    vectors_max: int = 0
    hidden_size: int = 0
    details: dict[str, int] = field(default_factory=dict)
