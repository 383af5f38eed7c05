"""The words of a release: audiences, defaults, and where a proposal stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Audience, Decision, Depth, Level
from dutchdoor.evidence.reaudit import GRACE_MS, PERIOD_MS

__all__ = [
    "AUDIENCES",
    "DAY_MS",
    "DEFAULTS",
    "Approval",
    "HistoryRow",
    "Proposal",
    "ReleaseDefaults",
    "State",
    "audience",
    "level_of",
]

AUDIENCES: Mapping[str, str] = MappingProxyType(
    {
        "auditor": "auditors of this model",
        "red_teamer": "people who attack the model on request",
        "safety_institute": "safety institutes and regulators",
        "researcher": "vetted researchers",
        "developer": "developers of applications",
        "partner": "partner organisations",
        "public": "the public",
    }
)
"""The audiences a decision may name, in words."""

DAY_MS = 86_400_000

_OFFERED = tuple(level for level in Level if level is not Level.FULLY_CLOSED)


@dataclass(frozen=True)
class ReleaseDefaults:
    """What holds where a proposal does not say otherwise.

    approvals_min: approvers a workspace asks for. in_force_days: how long a decision lasts.
    observation_days: how long a stage is watched before a wider one is proposed. reaudit_days,
    reaudit_grace_days: how long the log lets a decision stand on an audit that nobody looks at
    again; constants of its format. vectors_part: the part of h that may leave, 1 / 4: facts and
    figures in docs/security. threshold: of the probe. reasons_bytes_max: of the whole text;
    decision_bytes_max: of the whole decision, so that it fits, signed, into one entry of the log.
    review_days: until a decision is looked at again, where it does not end before.
    """

    approvals_min: int = 2
    in_force_days: int = 90
    observation_days: int = 30
    reaudit_days: int = PERIOD_MS // DAY_MS
    reaudit_grace_days: int = GRACE_MS // DAY_MS
    vectors_part: int = 4
    threshold: str = "fpr_0.01"
    hold_back_tokens: int = 0
    reasons_bytes_max: int = 20_000
    decision_bytes_max: int = 33_000
    review_days: int = 183
    approvals_bytes_max: int = 1 << 20


DEFAULTS = ReleaseDefaults()


class State(StrEnum):
    """Where a decision stands."""

    PROPOSED = "proposed"
    NOT_YET = "not yet in force"
    IN_FORCE = "in force"
    EXPIRED = "expired"
    OVERDUE = "audit overdue"
    UNREVIEWED = "review overdue"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled back"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Proposal:
    """A proposal as its document says it now.

    approved_by: names of the keys that approved exactly this text. voided: key ids whose approval
    was of another text. state: PROPOSED, or what became of the decision. outside_by,
    outside_missing: those outside whose signature it demands and who signed, or have not.
    """

    id: str
    decision: Decision
    proposed_by: str
    proposed_by_key: str
    observation_days: int
    heard: tuple[str, ...]
    approved_by: tuple[str, ...]
    voided: tuple[str, ...]
    approvals_min: int
    state: State
    outside_by: tuple[str, ...] = ()
    outside_missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Approval:
    """What one approval did. voided: approvals that fell because the text was changed after them.

    index: of the entry that put the decision in force, None while more approvals are needed.
    outside_by, outside_missing: as in `Proposal`.
    """

    proposal: str
    decision: Decision
    approved_by: tuple[str, ...]
    voided: tuple[str, ...]
    approvals_min: int
    index: int | None
    outside_by: tuple[str, ...] = ()
    outside_missing: tuple[str, ...] = ()

    @property
    def in_force(self) -> bool:
        return self.index is not None


@dataclass(frozen=True)
class HistoryRow:
    """One decision that was ever signed, or one proposal. index: of its entry, -1 for proposals."""

    decision: str
    bundle: str
    model: str
    level: str
    stage: str
    state: State
    index: int
    reason: str


def audience(name: str, depths: Iterable[str], people: Iterable[str] = ()) -> Audience:
    """A row of a decision from plain words.

    Raises Invalid: an unknown audience or depth, or no depth; the hint lists the known ones.
    """
    if name not in AUDIENCES:
        hint = "known: " + ", ".join(AUDIENCES)
        raise Invalid(f"no audience '{name}'", code="unknown_audience", hint=hint)
    chosen = []
    for word in depths:
        try:
            chosen.append(Depth(word))
        except ValueError as error:
            hint = "known: " + ", ".join(Depth)
            raise Invalid(f"no depth '{word}'", code="unknown_depth", hint=hint) from error
    if not chosen:
        message = f"audience {name} is given no depth"
        raise Invalid(message, code="unknown_depth", hint="known: " + ", ".join(Depth))
    # One order, so that the same terms have one sequence of bytes whoever types them.
    order = list(Depth)
    return Audience(name, tuple(sorted(set(chosen), key=order.index)), tuple(people))


def level_of(word: str) -> Level:
    """The level that may be proposed under this word.

    Raises Invalid: unknown, or `fully_closed`, which is how a bundle is born. At `downloadable` and
    beyond weights leave: `export.conditions` says what that takes besides.
    """
    try:
        level = Level(word)
    except ValueError as error:
        hint = "known: " + ", ".join(Level)
        raise Invalid(f"no level '{word}'", code="unknown_level", hint=hint) from error
    if level not in _OFFERED:
        hint = "may be proposed: " + ", ".join(_OFFERED)
        message = f"level {level} cannot be proposed"
        raise Invalid(message, code="level_not_offered", hint=hint)
    return level
