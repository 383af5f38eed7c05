"""People, grants, budgets, and what a decision about one request looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from dutchdoor.evidence.decision import Depth
from dutchdoor.ids import BundleDigest, DecisionId, GrantId, KeyId, PersonId

__all__ = [
    "AccessRequest",
    "Allowed",
    "Amounts",
    "Budget",
    "Caller",
    "ContentMode",
    "Grant",
    "MonitorMode",
    "Person",
    "Refusal",
    "Reservation",
]


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
class Budget:
    """What a grant may release at most over its life; 0 means nothing of it."""

    requests: int
    tokens: int
    vectors: int = 0


@dataclass(frozen=True)
class Amounts:
    """Quantities reserved or used. tokens: prompt and completion together."""

    requests: int = 0
    tokens: int = 0
    vectors: int = 0


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


@dataclass(frozen=True)
class AccessRequest:
    """What somebody asks to do: everything the policies may look at.

    action: `infer`, `read_activations`, `fit_probe`, `list_models`. audience_depths: what the
    decision in force opens to this person.
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
class Allowed:
    """Yes, under this grant, by this rule."""

    grant: Grant
    rule: str


@dataclass(frozen=True)
class Refusal:
    """No, and why: `code` for programs, `message` for people, `rule` the rule that decided.

    missing: what would have to be there (a depth, a grant, a budget), for the error's body.
    """

    code: str
    message: str
    rule: str
    hint: str = ""
    missing: tuple[str, ...] = ()
    grant: Grant | None = None


@dataclass(frozen=True)
class Reservation:
    """Budget set aside before an inference; settled once with what was really used.

    id: the inference's id. vectors_released, vectors_max, hidden_size: the pooled state of the
    bundle after this reservation, for "x of h vectors released".
    """

    id: str
    grant: GrantId
    bundle: BundleDigest
    amounts: Amounts
    vectors_released: int = 0
    vectors_max: int = 0
    hidden_size: int = 0
    details: dict[str, int] = field(default_factory=dict)
