"""No decision with a forbidden combination; and what a decision makes possible, on its page."""

from __future__ import annotations

from dutchdoor.errors import Refused
from dutchdoor.evidence.decision import Decision
from dutchdoor.release.combinations.evaluate import answer
from dutchdoor.release.combinations.model import (
    ACTIVITIES,
    CIRCLES,
    Answer,
    Circle,
    Flag,
    Standing,
    Verdict,
)
from dutchdoor.release.combinations.opening import opening_of

__all__ = ["answer_lines", "check_combination", "combination_lines"]

_HOLDER = {"monitor": "The holder sees how it is used", "rescind": "The holder can take it back"}


def check_combination(decision: Decision) -> None:
    """Raises Refused where the decision opens a combination that the rules forbid.

    A bundle's first decision, for its audit alone, is no proposal and not held to this.
    """
    found = answer(opening_of(decision)).forbidden
    if found:
        first = found[0]
        names = ", ".join(flag.name for flag in found)
        message = f"a forbidden combination ({names}): {first.reason}"
        raise Refused(message, code="combination_forbidden", hint=first.mend)


def combination_lines(decision: Decision) -> list[str]:
    """The part of a decision's page about what it makes possible, as Markdown; with headings.

    In plain sentences; `dutchdoor release combinations` has those for people of the trade.
    """
    lines = answer_lines(answer(opening_of(decision)), plain=True)
    return [*lines, "", "In the words of the trade: `dutchdoor release combinations`."]


def answer_lines(found: Answer, *, plain: bool = False) -> list[str]:
    """An answer as Markdown, with headings. plain: in words for anybody, the ways left out."""
    lines = ["## What this makes possible", ""]
    lines += [f"- {_standing_text(row, plain=plain)}" for row in found.standings]
    if found.for_good:
        lines.append(f"- Copies that do not come back: {', '.join(found.for_good)}")
    lines += ["", "## What to look at twice", ""]
    none = ["No combination that the rules know as risky."]
    flags = (*found.forbidden, *_risky(found))
    return lines + ([f"- {_flag_text(flag, plain=plain)}" for flag in flags] or none)


def _standing_text(row: Standing, *, plain: bool) -> str:
    if row.activity.of_the_holder:
        said = "" if row.enabled else row.ways[0].plain if plain else row.ways[0].reason
        why = f". {said}" if said else ""
        return f"{_HOLDER[row.activity]}: {'yes' if row.enabled else 'no'}{why}"
    what = f"{row.activity.capitalize()} ({ACTIVITIES[row.activity]})"
    if row.circle is None:
        return f"{what}: nobody"
    alone = row.circle in {Circle.AUDITORS, Circle.PUBLIC}
    inward = "" if alone else ", and those let in further"
    known = ", ".join(way.name.replace("_", " ") for way in row.ways)
    return f"{what}: {CIRCLES[row.circle]}{inward}" + f"; ways: {known}" * (not plain)


def _risky(found: Answer) -> tuple[Flag, ...]:
    return tuple(flag for flag in found.flags if flag.verdict is Verdict.RISKY)


def _flag_text(flag: Flag, *, plain: bool) -> str:
    if plain:
        return f"**{flag.verdict.capitalize()}** for {CIRCLES[flag.circle]}: {flag.plain}"
    figures = f" ({flag.arithmetic})" if flag.arithmetic else ""
    return f"**{flag.verdict.capitalize()}** for {CIRCLES[flag.circle]}: {flag.reason}{figures}"
