"""The words of combinations: circles of people, activities, what is opened, what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from dutchdoor.evidence.openness import Depth, Level
from dutchdoor.evidence.terms import ComponentAccess

__all__ = [
    "ACTIVITIES",
    "CIRCLES",
    "CIRCLE_OF",
    "HELD",
    "WEIGHTS",
    "Activity",
    "Answer",
    "Circle",
    "Flag",
    "Opening",
    "Standing",
    "Verdict",
    "View",
    "Way",
]

WEIGHTS = "Model parameters (Final)"


class Circle(StrEnum):
    """People by how they are let in, from the innermost; each has all that those after it have."""

    AUDITORS = "auditors"
    VETTED = "vetted"
    USERS = "users"
    LICENSEES = "licensees"
    PUBLIC = "public"


CIRCLES: Mapping[Circle, str] = MappingProxyType(
    {
        Circle.AUDITORS: "auditors",
        Circle.VETTED: "vetted people",
        Circle.USERS: "users of the service",
        Circle.LICENSEES: "whoever accepts a licence",
        Circle.PUBLIC: "everybody",
    }
)
"""The circles in words, from the innermost."""

CIRCLE_OF: Mapping[str, Circle] = MappingProxyType(
    {
        "auditor": Circle.AUDITORS,
        "red_teamer": Circle.VETTED,
        "safety_institute": Circle.VETTED,
        "researcher": Circle.VETTED,
        "developer": Circle.USERS,
        "partner": Circle.USERS,
        "public": Circle.PUBLIC,
    }
)
"""Each audience's circle. An audience that nobody knows is taken for the public."""

HELD = frozenset({ComponentAccess.GATED_DOWNLOAD, ComponentAccess.PUBLIC})
"""At these a copy leaves. Below, people come to the component, and it stays where it is."""


class Activity(StrEnum):
    """What people do with a model, and what its holder can still do."""

    USE = "use"
    STUDY = "study"
    MODIFY = "modify"
    REPRODUCE = "reproduce"
    MONITOR = "monitor"
    RESCIND = "rescind"

    @property
    def of_the_holder(self) -> bool:
        """Whether opening more can only end it."""
        return self in {Activity.MONITOR, Activity.RESCIND}


ACTIVITIES: Mapping[Activity, str] = MappingProxyType(
    {
        Activity.USE: "ask it and have its answers",
        Activity.STUDY: "find out what it does, and why",
        Activity.MODIFY: "change what it does",
        Activity.REPRODUCE: "make it, or the same again, elsewhere",
        Activity.MONITOR: "the holder sees how it is used",
        Activity.RESCIND: "the holder can take it back",
    }
)


class Verdict(StrEnum):
    """What a flag says about a combination."""

    RISKY = "risky"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True)
class Opening:
    """All that is opened, and to whom. Order never matters.

    components: by the framework's names; what is not named is closed. depths: by audience.
    vectors_max, hidden_size: of the decision; 0 where they are not known.
    """

    level: Level
    components: Mapping[str, ComponentAccess] = field(default_factory=dict)
    depths: Mapping[str, frozenset[Depth]] = field(default_factory=dict)
    vectors_max: int = 0
    hidden_size: int = 0

    def view(self, circle: Circle) -> View:
        """What a person of this circle has at most."""
        order = list(Circle)
        place = order.index(circle)
        depths: set[Depth] = set()
        for audience, opened in self.depths.items():
            if order.index(CIRCLE_OF.get(audience, Circle.PUBLIC)) >= place:
                depths |= opened
        ladder = list(ComponentAccess)[1:]
        seen = {
            name
            for name, access in self.components.items()
            if access in ladder and ladder.index(access) >= place
        }
        held = {name for name in seen if self.components[name] in HELD}
        return View(self.level, frozenset(depths), frozenset(seen), frozenset(held))


@dataclass(frozen=True)
class View:
    """What one circle has. seen: components it may look at; held: those it has a copy of."""

    level: Level
    depths: frozenset[Depth]
    seen: frozenset[str]
    held: frozenset[str]


@dataclass(frozen=True)
class Way:
    """One rule that applies. circle: the widest one for which it does. plain: for anybody."""

    name: str
    activity: Activity
    circle: Circle
    reason: str
    plain: str
    source: str


@dataclass(frozen=True)
class Flag:
    """A combination that needs a second look. circle: the widest one for which it applies.

    reason: for people of the trade; plain: for anybody.
    """

    name: str
    verdict: Verdict
    circle: Circle
    reason: str
    plain: str
    mend: str
    source: str
    arithmetic: str = ""


@dataclass(frozen=True)
class Standing:
    """One activity. circle: the widest one that can do it, None for nobody; holder's have none.

    ways: what enables it, or, of the holder's two, what ends it.
    """

    activity: Activity
    enabled: bool
    circle: Circle | None
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Answer:
    """What an opening makes possible. for_good: components whose copies do not come back."""

    standings: tuple[Standing, ...]
    flags: tuple[Flag, ...]
    for_good: tuple[str, ...]

    def of(self, activity: Activity) -> Standing:
        """The standing of one activity."""
        return next(row for row in self.standings if row.activity is activity)

    @property
    def forbidden(self) -> tuple[Flag, ...]:
        """The flags with which no decision is made."""
        return tuple(flag for flag in self.flags if flag.verdict is Verdict.FORBIDDEN)
