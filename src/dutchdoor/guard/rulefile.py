"""The rule file: what a person writes, checked line by line before anything is compiled.

`docs/reference/rules.md` describes the format.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from dutchdoor import canonical
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.guard.model import HAZARDS, Action
from dutchdoor.guard.view import view_of

__all__ = [
    "PATTERN_CHARACTERS_MAX",
    "RULES_BYTES_MAX",
    "RULES_MAX",
    "Rule",
    "Side",
    "default_rules",
    "digest_of",
    "parse_rules",
    "read_rule_file",
]

RULES_BYTES_MAX = 8 << 20
RULES_MAX = 50_000
PATTERN_CHARACTERS_MAX = 1024
_FIELDS = {"id", "literal", "regex", "category", "action", "side", "note"}


class Side(StrEnum):
    """Which text a rule reads."""

    PROMPT = "prompt"
    OUTPUT = "output"
    BOTH = "both"


@dataclass(frozen=True)
class Rule:
    """One rule. Exactly one of `literal` and `regex` is not empty.

    category: a hazard. action: `block` or `flag`. note: why the rule is here, for people.
    """

    id: str
    category: str
    action: Action
    side: Side
    literal: str = ""
    regex: str = ""
    note: str = ""


def digest_of(rules: Iterable[Rule]) -> str:
    """The SHA-256 of the rules' meaning in hexadecimal: order and notes do not count."""
    rows: list[Any] = [
        [r.id, r.category, str(r.action), str(r.side), r.literal, r.regex]
        for r in sorted(rules, key=lambda rule: rule.id)
    ]
    return canonical.sha256_hex(canonical.encode(rows))


def default_rules() -> tuple[Rule, ...]:
    """The packaged rules."""
    data = resources.files("dutchdoor.guard").joinpath("rules.yaml").read_bytes()
    return parse_rules(data, "rules.yaml")


def read_rule_file(path: Path) -> tuple[Rule, ...]:
    """The rules in `path`. Raises NotFound: no such file. Invalid: see `parse_rules`."""
    try:
        with path.open("rb") as file:
            data = file.read(RULES_BYTES_MAX + 1)
    except OSError as error:
        hint = "name a rule file in [guard] rules, or leave it empty for the packaged rules"
        raise NotFound(f"{path} cannot be read", code="no_rules", hint=hint) from error
    return parse_rules(data, path.name)


def parse_rules(data: bytes, name: str) -> tuple[Rule, ...]:
    """The rules in `data` (unverified bytes); `name` tells the format by its ending.

    Raises Invalid: too large, neither YAML nor JSONL, no rules at all, a duplicate id, or a rule
    with a missing, unknown or wrong field; the message names the rule.
    """
    if len(data) > RULES_BYTES_MAX:
        raise Invalid(f"{name} has more than {RULES_BYTES_MAX} bytes", code="bad_rule")
    rows = _rows(data, name)
    if not isinstance(rows, list) or not 0 < len(rows) <= RULES_MAX:
        hint = "a rule file holds a list of rules; see docs/reference/rules.md"
        raise Invalid(f"{name} holds no list of 1 to {RULES_MAX} rules", code="bad_rule", hint=hint)
    rules = tuple(_rule(row, f"rule {number}") for number, row in enumerate(rows, 1))
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise Invalid(f"two rules are called '{rule.id}'", code="bad_rule")
        seen.add(rule.id)
    return rules


def _rows(data: bytes, name: str) -> Any:
    try:
        text = data.decode()
        if name.endswith(".jsonl"):
            return [json.loads(line) for line in text.splitlines() if line.strip()]
        loaded = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise Invalid(f"{name} does not parse: {error}", code="bad_rule") from error
    if isinstance(loaded, dict) and set(loaded) == {"rules"}:
        return loaded["rules"]
    return loaded


def _rule(row: Any, where: str) -> Rule:
    if not isinstance(row, dict) or not all(isinstance(v, str) for v in (*row, *row.values())):
        raise Invalid(f"{where} is not a mapping of names to texts", code="bad_rule")
    where = f"rule '{row.get('id', where)}'"
    unknown = sorted(set(row) - _FIELDS)
    if unknown:
        hint = "known fields: " + ", ".join(sorted(_FIELDS))
        raise Invalid(f"{where} has an unknown field '{unknown[0]}'", code="bad_rule", hint=hint)
    identity = row.get("id", "")
    if not identity or not identity.replace("_", "").replace("-", "").isalnum():
        raise Invalid(f"{where} needs an id of letters, digits, - and _", code="bad_rule")
    literal, regex = row.get("literal", ""), row.get("regex", "")
    if bool(literal) == bool(regex):
        raise Invalid(f"{where} needs either a literal or a regex", code="bad_rule")
    if len(literal or regex) > PATTERN_CHARACTERS_MAX:
        message = f"{where} is longer than {PATTERN_CHARACTERS_MAX} characters"
        raise Invalid(message, code="bad_rule")
    if literal and not view_of(literal).strip():
        raise Invalid(f"{where} has a literal with nothing visible in it", code="bad_rule")
    category = row.get("category", "")
    if category not in HAZARDS:
        hint = "hazards: " + ", ".join(HAZARDS)
        raise Invalid(f"{where} has no hazard as category", code="bad_rule", hint=hint)
    action, side = row.get("action", "block"), row.get("side", "prompt")
    if action not in {"block", "flag"}:
        raise Invalid(f"{where} must block or flag", code="bad_rule")
    if side not in set(Side):
        raise Invalid(f"{where} must read prompt, output or both", code="bad_rule")
    note = row.get("note", "")
    return Rule(identity, category, Action(action), Side(side), literal, regex, note)
