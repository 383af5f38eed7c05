"""Reads `rules.yaml`, and refuses a table with a word that nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from dutchdoor.audit.document import read_yaml
from dutchdoor.audit.outputs.facts import COMPONENTS
from dutchdoor.errors import Invalid
from dutchdoor.evidence.openness import Depth, Level
from dutchdoor.release.combinations.model import Activity, Circle, View

__all__ = ["Condition", "FlagRule", "Rules", "WayRule", "load_rules", "parse_rules"]

_SETS = (
    "depths_any",
    "depths_all",
    "seen_any",
    "seen_all",
    "held_any",
    "held_all",
    "levels",
)


@dataclass(frozen=True)
class Condition:
    """A conjunction; what is empty asks for nothing."""

    depths_any: frozenset[str] = frozenset()
    depths_all: frozenset[str] = frozenset()
    seen_any: frozenset[str] = frozenset()
    seen_all: frozenset[str] = frozenset()
    held_any: frozenset[str] = frozenset()
    held_all: frozenset[str] = frozenset()
    levels: frozenset[str] = frozenset()

    def holds(self, view: View) -> bool:
        """Whether all of it holds of what one circle has."""
        return (
            (not self.depths_any or bool(self.depths_any & view.depths))
            and self.depths_all <= view.depths
            and (not self.seen_any or bool(self.seen_any & view.seen))
            and self.seen_all <= view.seen
            and (not self.held_any or bool(self.held_any & view.held))
            and self.held_all <= view.held
            and (not self.levels or view.level in self.levels)
        )


@dataclass(frozen=True)
class WayRule:
    """What enables an activity, or ends one of the holder's."""

    name: str
    activity: Activity
    when: Condition
    reason: str
    plain: str
    source: str


@dataclass(frozen=True)
class FlagRule:
    """A combination to look at; see the head of `rules.yaml`."""

    name: str
    when: Condition
    reason: str
    plain: str
    mend: str
    source: str
    forbidden_from: Circle | None = None
    at: Circle | None = None
    unless: Condition | None = None
    unless_at: Circle | None = None


@dataclass(frozen=True)
class Rules:
    """The whole table."""

    ways: tuple[WayRule, ...]
    ends: tuple[WayRule, ...]
    flags: tuple[FlagRule, ...]


@lru_cache(maxsize=1)
def load_rules() -> Rules:
    """The table that ships."""
    path = resources.files("dutchdoor.release.combinations").joinpath("rules.yaml")
    return parse_rules(path.read_text(encoding="utf-8"))


def parse_rules(text: str) -> Rules:
    """The table in `text`.

    Raises Invalid: not plain YAML, an unknown or repeated word, a rule without reason or source,
    or a way that depends on the level or asks for nothing.
    """
    data = read_yaml(text, where="rules.yaml")
    if not isinstance(data, dict) or set(data) != {"ways", "ends", "flags"}:
        raise _bad("it has ways, ends and flags, nothing else")
    ways = tuple(_way(row, of_the_holder=False) for row in data["ways"])
    ends = tuple(_way(row, of_the_holder=True) for row in data["ends"])
    flags = tuple(_flag(row) for row in data["flags"])
    names = [row.name for row in ways + ends] + [row.name for row in flags]
    if len(set(names)) != len(names):
        raise _bad("a rule's name is there twice")
    return Rules(ways, ends, flags)


def _way(row: Any, *, of_the_holder: bool) -> WayRule:
    _keys(row, {"name", "activity", "when", "reason", "plain", "source"}, set())
    try:
        activity = Activity(row["activity"])
    except ValueError as error:
        raise _bad(f"no activity '{row['activity']}'") from error
    when = _condition(row["when"])
    if activity.of_the_holder is not of_the_holder:
        raise _bad(f"'{row['name']}' stands in the wrong part")
    if when == Condition() or when.levels:
        # A level is a word; only what is opened enables anything.
        raise _bad(f"'{row['name']}' must ask for something that is opened, and for no level")
    return WayRule(row["name"], activity, when, row["reason"], row["plain"], row["source"])


def _flag(row: Any) -> FlagRule:
    optional = {"forbidden_from", "at", "unless", "unless_at"}
    _keys(row, {"name", "when", "reason", "plain", "mend", "source"}, optional)
    unless = _condition(row["unless"]) if "unless" in row else None
    if "unless_at" in row and unless is None:
        raise _bad(f"'{row['name']}' says where to ask, and not what")
    return FlagRule(
        name=row["name"],
        when=_condition(row["when"]),
        reason=row["reason"],
        plain=row["plain"],
        mend=row["mend"],
        source=row["source"],
        forbidden_from=_circle(row.get("forbidden_from")),
        at=_circle(row.get("at")),
        unless=unless,
        unless_at=_circle(row.get("unless_at")),
    )


def _keys(row: Any, needed: set[str], optional: set[str]) -> None:
    if not isinstance(row, dict) or not needed <= set(row) <= needed | optional:
        raise _bad(f"a rule has {', '.join(sorted(needed))}")
    for key in needed - {"when"}:
        if not isinstance(row[key], str) or not row[key].strip():
            raise _bad(f"'{key}' of a rule says nothing")


def _condition(value: Any) -> Condition:
    if not isinstance(value, dict) or not value or not set(value) <= set(_SETS):
        raise _bad(f"a condition has some of {', '.join(_SETS)}")
    words: dict[str, set[str]] = {"depths": {*Depth}, "levels": {*Level}}
    sets = {}
    for key, row in value.items():
        known = words.get(key.partition("_")[0], set(COMPONENTS))
        if not isinstance(row, list) or not row or not set(row) <= known:
            raise _bad(f"'{key}' holds a word that nobody knows: {row}")
        sets[key] = frozenset(str(word) for word in row)
    return Condition(**sets)


def _circle(word: Any) -> Circle | None:
    if word is None:
        return None
    try:
        return Circle(word)
    except ValueError as error:
        raise _bad(f"no circle '{word}'") from error


def _bad(why: str) -> Invalid:
    return Invalid(f"rules.yaml: {why}", code="bad_combination_rules")
