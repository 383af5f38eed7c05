"""The rules as Markdown tables: for the concept page and for the command line."""

from __future__ import annotations

from dutchdoor.release.combinations.rules import Condition, FlagRule, WayRule, load_rules

__all__ = ["condition_text", "rules_tables"]

_WORDS = (
    ("levels", "level ", " or "),
    ("depths_any", "depth ", " or "),
    ("depths_all", "depths ", " + "),
    ("seen_any", "a look at ", " or "),
    ("seen_all", "a look at ", " + "),
    ("held_any", "a copy of ", " or "),
    ("held_all", "copies of ", " + "),
)


def rules_tables() -> str:
    """All rules, three tables."""
    rules = load_rules()
    lines = ["| activity | way | needs | reason | source |", "|---|---|---|---|---|"]
    lines += [_way(row) for row in rules.ways]
    lines += ["", "What ends the holder's control:", ""]
    lines += ["| activity | end | when somebody has | reason | source |", "|---|---|---|---|---|"]
    lines += [_way(row) for row in rules.ends]
    lines += ["", "What is flagged:", ""]
    lines += ["| flag | verdict | when | reason | what mends it | source |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [_flag(row) for row in rules.flags]
    return "\n".join(lines) + "\n"


def condition_text(condition: Condition) -> str:
    """A condition in words."""
    said = []
    for name, word, between in _WORDS:
        words = getattr(condition, name)
        if words:
            said.append(word + between.join(sorted(str(row) for row in words)))
    return ", and ".join(said) or "anything"


def _way(row: WayRule) -> str:
    cells = (str(row.activity), f"`{row.name}`", condition_text(row.when), row.reason, row.source)
    return f"| {' | '.join(cell.strip() for cell in cells)} |"


def _flag(row: FlagRule) -> str:
    verdict = "risky"
    if row.forbidden_from is not None:
        first = str(row.forbidden_from)
        verdict = "forbidden" if first == "auditors" else f"risky; forbidden from {first} outward"
    when = condition_text(row.when)
    if row.at is not None:
        when = f"{row.at} have: {when}"
    if row.unless is not None:
        where = f"{row.unless_at} have " if row.unless_at is not None else ""
        when += f"; unless {where}{condition_text(row.unless)}"
    cells = (f"`{row.name}`", verdict, when, row.reason, row.mend, row.source)
    return f"| {' | '.join(cell.strip() for cell in cells)} |"
