"""What a decision opens, and the same from plain words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dutchdoor.audit.outputs.facts import COMPONENTS
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Audience, Decision
from dutchdoor.evidence.openness import Depth, Level
from dutchdoor.evidence.terms import ComponentAccess
from dutchdoor.release.combinations.model import WEIGHTS, Opening
from dutchdoor.release.model import audience

__all__ = [
    "component_access",
    "components_from",
    "depths_by_audience",
    "depths_from",
    "level_word",
    "opening_from",
    "opening_of",
    "with_implied",
]

_IMPLIED: Mapping[Level, ComponentAccess] = {
    Level.FULLY_CLOSED: ComponentAccess.AUDITORS,
    Level.GRADUAL_STAGED: ComponentAccess.SERVED,
    Level.HOSTED: ComponentAccess.SERVED,
    Level.CLOUD_API: ComponentAccess.SERVED,
    Level.DOWNLOADABLE: ComponentAccess.GATED_DOWNLOAD,
    Level.FULLY_OPEN: ComponentAccess.PUBLIC,
}


def opening_of(decision: Decision) -> Opening:
    """What the decision opens, in its present stage.

    A component that it does not name is closed; what its level says of the weights holds where it
    does not name them, and at fully open without any component named, of all seventeen.
    """
    named = {row.name: row.access for row in decision.terms.components}
    return Opening(
        level=decision.level,
        components=with_implied(decision.level, named),
        depths=depths_by_audience(decision.audiences),
        vectors_max=decision.vectors_max,
        hidden_size=decision.hidden_size,
    )


def with_implied(
    level: Level, named: Mapping[str, ComponentAccess]
) -> Mapping[str, ComponentAccess]:
    """`named`, and what the level says of the weights where they are not named."""
    implied = _IMPLIED[level]
    every = COMPONENTS if level is Level.FULLY_OPEN and not named else (WEIGHTS,)
    return {**dict.fromkeys(every, implied), **named}


def depths_by_audience(rows: Iterable[Audience]) -> dict[str, frozenset[Depth]]:
    """The depths that each audience is given, rows of one audience together."""
    found: dict[str, frozenset[Depth]] = {}
    for row in rows:
        found[row.name] = found.get(row.name, frozenset()) | frozenset(row.depths)
    return found


def component_access(name: str, access: str) -> tuple[str, ComponentAccess]:
    """A component and how it is shared, from words as people type them; case does not matter.

    Raises Invalid: unknown; the hint lists the known ones.
    """
    known = {row.casefold(): row for row in COMPONENTS}
    if name.strip().casefold() not in known:
        hint = "known: " + ", ".join(COMPONENTS)
        raise Invalid(f"no component '{name[:64]}'", code="unknown_component", hint=hint)
    try:
        return known[name.strip().casefold()], ComponentAccess(access.strip())
    except ValueError as error:
        hint = "known: " + ", ".join(ComponentAccess)
        message = f"no access '{access[:64]}' of a component"
        raise Invalid(message, code="unknown_access", hint=hint) from error


def level_word(word: str) -> Level:
    """The level of that name. Raises Invalid: unknown."""
    try:
        return Level(word.strip())
    except ValueError as error:
        hint = "known: " + ", ".join(Level)
        raise Invalid(f"no level '{word[:64]}'", code="unknown_level", hint=hint) from error


def opening_from(
    level: str,
    components: Mapping[str, str],
    depths: Mapping[str, Iterable[str]],
    *,
    vectors_max: int = 0,
    hidden_size: int = 0,
) -> Opening:
    """An opening from plain words (unverified), with what the level implies.

    Raises Invalid: an unknown level, component, access, audience or depth, or an audience without
    a depth; the hint lists the known ones.
    """
    chosen = level_word(level)
    return Opening(
        level=chosen,
        components=with_implied(chosen, components_from(components)),
        depths=depths_from(depths),
        vectors_max=vectors_max,
        hidden_size=hidden_size,
    )


def components_from(words: Mapping[str, str]) -> dict[str, ComponentAccess]:
    """Components and how they are shared. Raises Invalid: unknown, or one is named twice."""
    rows = [component_access(name, access) for name, access in words.items()]
    if len(dict(rows)) < len(rows):
        raise Invalid("a component is named twice", code="unknown_component")
    return dict(rows)


def depths_from(words: Mapping[str, Iterable[str]]) -> dict[str, frozenset[Depth]]:
    """Depths by audience. Raises Invalid: an unknown audience or depth, or none for one."""
    return depths_by_audience(audience(name, depths) for name, depths in words.items())
