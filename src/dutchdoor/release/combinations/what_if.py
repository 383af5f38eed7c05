"""What changes if one more component or depth is opened, or several things at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from dutchdoor.audit.outputs.facts import COMPONENTS
from dutchdoor.evidence.openness import Depth, Level
from dutchdoor.evidence.terms import ComponentAccess
from dutchdoor.release.combinations.evaluate import answer
from dutchdoor.release.combinations.model import Activity, Answer, Circle, Flag, Opening, Way
from dutchdoor.release.combinations.opening import components_from, depths_from, level_word

__all__ = ["Change", "Difference", "Move", "change_from", "changed", "next_steps", "what_if"]


@dataclass(frozen=True)
class Change:
    """What would be set. depths: in addition to what the audience has. level: None for the same."""

    components: Mapping[str, ComponentAccess] = field(default_factory=dict)
    depths: Mapping[str, frozenset[Depth]] = field(default_factory=dict)
    level: Level | None = None

    def text(self) -> str:
        """The change in words."""
        said = [f"{name}: {access}" for name, access in self.components.items()]
        said += [
            f"{audience}: {', '.join(depth for depth in Depth if depth in depths)}"
            for audience, depths in self.depths.items()
        ]
        return "; ".join(([f"level {self.level}"] if self.level else []) + said) or "nothing"


@dataclass(frozen=True)
class Move:
    """An activity whose reach changes; None for nobody. Of the holder's two, both are None."""

    activity: Activity
    before: Circle | None
    after: Circle | None
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Difference:
    """What a change would do.

    moves: activities that more or fewer people could do. ended, regained: the holder's. ways: new
    ways, also of activities that were enabled before. flags: new, or harsher, or reaching further.
    settled: flags that would go.
    """

    change: Change
    before: Answer
    after: Answer
    moves: tuple[Move, ...]
    ended: tuple[Activity, ...]
    regained: tuple[Activity, ...]
    ways: tuple[Way, ...]
    flags: tuple[Flag, ...]
    settled: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        opens = self.moves or self.ended or self.regained or self.ways
        return not (opens or self.flags or self.settled)


def change_from(
    level: str, components: Mapping[str, str], depths: Mapping[str, Iterable[str]]
) -> Change:
    """A change from plain words (unverified). level: "" for the same.

    Raises Invalid: an unknown level, component, access, audience or depth.
    """
    return Change(
        components=components_from(components),
        depths=depths_from(depths),
        level=level_word(level) if level else None,
    )


def changed(opening: Opening, change: Change) -> Opening:
    """`opening` with the change made."""
    depths = dict(opening.depths)
    for audience, more in change.depths.items():
        depths[audience] = depths.get(audience, frozenset()) | more
    return replace(
        opening,
        level=change.level or opening.level,
        components={**opening.components, **change.components},
        depths=depths,
    )


def what_if(opening: Opening, change: Change) -> Difference:
    """What `change` would do to what `opening` makes possible; nothing is decided by asking."""
    before, after = answer(opening), answer(changed(opening, change))
    moves, ended, regained = [], [], []
    for was, would in zip(before.standings, after.standings, strict=True):
        activity = was.activity
        if activity.of_the_holder:
            if was.enabled and not would.enabled:
                ended.append(activity)
            elif would.enabled and not was.enabled:
                regained.append(activity)
        elif was.circle is not would.circle:
            ways = tuple(way for way in would.ways if way.circle is would.circle)
            moves.append(Move(activity, was.circle, would.circle, ways))
    known_ways = {(way.name, way.circle) for row in before.standings for way in row.ways}
    known_flags = {(flag.name, flag.verdict, flag.circle) for flag in before.flags}
    left = {flag.name for flag in after.flags}
    return Difference(
        change=change,
        before=before,
        after=after,
        moves=tuple(moves),
        ended=tuple(ended),
        regained=tuple(regained),
        ways=tuple(
            way
            for row in after.standings
            for way in row.ways
            if (way.name, way.circle) not in known_ways
        ),
        flags=tuple(
            flag
            for flag in after.flags
            if (flag.name, flag.verdict, flag.circle) not in known_flags
        ),
        settled=tuple(flag.name for flag in before.flags if flag.name not in left),
    )


def next_steps(opening: Opening) -> tuple[Difference, ...]:
    """Every single step further that would change something.

    A step opens one component, to download under a licence or to everybody, or one more depth to
    an audience that is let in already.
    """
    ladder = list(ComponentAccess)
    steps = [
        Change(components={name: access})
        for name in COMPONENTS
        for access in (ComponentAccess.GATED_DOWNLOAD, ComponentAccess.PUBLIC)
        if access in ladder[ladder.index(opening.components.get(name, ladder[0])) + 1 :]
    ]
    for audience in sorted(opening.depths):
        steps += [
            Change(depths={audience: frozenset({depth})})
            for depth in Depth
            if depth not in opening.depths[audience]
        ]
    found = (what_if(opening, step) for step in steps)
    return tuple(row for row in found if not row.empty)
