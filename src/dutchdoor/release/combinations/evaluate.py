"""What an opening makes possible, by the rules: pure, and the same for any order."""

from __future__ import annotations

from dutchdoor.release.combinations.model import (
    HELD,
    Activity,
    Answer,
    Circle,
    Flag,
    Opening,
    Standing,
    Verdict,
    View,
    Way,
)
from dutchdoor.release.combinations.rules import FlagRule, Rules, WayRule, load_rules

__all__ = ["answer"]

_ORDER = tuple(Circle)
_Views = dict[Circle, View]


def answer(opening: Opening, rules: Rules | None = None) -> Answer:
    """Which activities `opening` enables for whom, and which combinations need a second look.

    It is an upper bound: whoever is further in is taken to have all that those further out have,
    and people to put together what they were given. rules: those that ship, where None.
    """
    table = rules or load_rules()
    views = {circle: opening.view(circle) for circle in _ORDER}
    standings = []
    for activity in Activity:
        rows = table.ends if activity.of_the_holder else table.ways
        ways = tuple(
            way for rule in rows if rule.activity is activity for way in _applies(rule, views)
        )
        widest = max((way.circle for way in ways), key=_ORDER.index, default=None)
        enabled = not ways if activity.of_the_holder else bool(ways)
        circle = None if activity.of_the_holder else widest
        standings.append(Standing(activity, enabled, circle, ways))
    flags = tuple(flag for rule in table.flags for flag in _flagged(rule, views, opening))
    for_good = tuple(sorted(name for name, how in opening.components.items() if how in HELD))
    return Answer(tuple(standings), flags, for_good)


def _applies(rule: WayRule, views: _Views) -> tuple[Way, ...]:
    for circle in reversed(_ORDER):
        if rule.when.holds(views[circle]):
            said = (rule.reason, rule.plain, rule.source)
            return (Way(rule.name, rule.activity, circle, *said),)
    return ()


def _flagged(rule: FlagRule, views: _Views, opening: Opening) -> tuple[Flag, ...]:
    for circle in reversed(_ORDER if rule.at is None else (rule.at,)):
        settled = rule.unless is not None and rule.unless.holds(views[rule.unless_at or circle])
        if rule.when.holds(views[circle]) and not settled:
            first = rule.forbidden_from
            forbidden = first is not None and _ORDER.index(circle) >= _ORDER.index(first)
            verdict = Verdict.FORBIDDEN if forbidden else Verdict.RISKY
            said = (rule.reason, rule.plain, rule.mend, rule.source)
            return (Flag(rule.name, verdict, circle, *said, _arithmetic(rule, opening)),)
    return ()


def _arithmetic(rule: FlagRule, opening: Opening) -> str:
    """How much this decision's own budget gives away by it, where that can be counted."""
    most, h = opening.vectors_max, opening.hidden_size
    if not h:
        return ""
    if rule.name == "last_layer_bracketed":
        return f"here: at most {most // 2} pairs, each costing 2 of {most} vectors, of h = {h}"
    if rule.name in {"free_scores_at_known_states", "states_chosen_and_rows", "rows_of_logits"}:
        return f"here: at most {most} vectors may leave, of h = {h}"
    return ""
