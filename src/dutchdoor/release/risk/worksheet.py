"""The worksheet of marginal risk: six steps for each threat and actor, written by people.

Front matter holds what can be checked, the body what must be read. A check says everything that is
wrong, in the order of the file, with what to do about it.
Source: Kapoor, Bommasani et al. 2024 (arXiv 2403.07918), the six steps.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib import resources
from string import Template
from typing import Any, NamedTuple

from dutchdoor.audit.document import Document
from dutchdoor.errors import Invalid
from dutchdoor.evidence.openness import Level
from dutchdoor.release.risk.evidence import EvidenceKind, Item, index

__all__ = [
    "BASELINES",
    "STEPS",
    "WORKSHEET_NAME",
    "Facts",
    "MarginalRisk",
    "Problem",
    "Row",
    "fresh_worksheet",
    "must_be_complete",
    "problems_of",
    "rows_of",
]

WORKSHEET_NAME = "worksheet.md"
ROWS_MAX = 24
PROBLEMS_SHOWN_MAX = 8
STEPS = (
    "1. Threat and actor",
    "2. Risk there is already",
    "3. Defences there are already",
    "4. Evidence of marginal risk",
    "5. Defending against what is new",
    "6. Uncertainty and assumptions",
)
BASELINES = ("search_engine", "open_models", "closed_apis")
"""What every worksheet compares with; it may name more."""
_PLACEHOLDER = "[write here"
_FRONT = {"worksheet", "model", "bundle", "audit", "level", "written_by", "baselines", "rows"}
_ROW = {"id", "threat", "actor", "baselines", "marginal_risk", "confidence", "evidence"}
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


class MarginalRisk(StrEnum):
    """What is left of a threat's risk after what there is already."""

    NONE = "none"
    SMALL = "small"
    MODERATE = "moderate"
    LARGE = "large"
    UNKNOWN = "unknown"


CONFIDENCES = ("low", "medium", "high")


class Facts(NamedTuple):
    """What a worksheet must be about."""

    model: str
    bundle: str
    audit: str


class Problem(NamedTuple):
    """Something that is wrong. where: a place in the file. hint: what to do, or ""."""

    where: str
    what: str
    hint: str = ""

    def line(self) -> str:
        """As a person reads it."""
        return f"{self.where}: {self.what}" + (f" ({self.hint})" if self.hint else "")


class Row(NamedTuple):
    """One threat and actor, as a complete worksheet judges them."""

    id: str
    threat: str
    actor: str
    marginal_risk: MarginalRisk
    confidence: str


def fresh_worksheet(facts: Facts, level: Level, items: Sequence[Item]) -> bytes:
    """A worksheet to write in: one row, its six steps with their questions, and what to point at.

    items: of the audit; they are listed at the end with their digests.
    """
    template = resources.files("dutchdoor.release.risk").joinpath("templates", WORKSHEET_NAME)
    lines = [f"| {i.kind} | {i.name} | `{i.digest}` | {_cell(i.says)} |" for i in items]
    return (
        Template(template.read_text(encoding="utf-8"))
        .substitute(
            model=facts.model,
            bundle=facts.bundle,
            audit=facts.audit,
            level=str(level),
            evidence="\n".join(lines) or "| | | | the audit has nothing to point at yet |",
        )
        .encode()
    )


def problems_of(document: Document, facts: Facts, items: Sequence[Item]) -> tuple[Problem, ...]:
    """Everything that is wrong with the worksheet (unverified); nothing where it is complete.

    facts: what it must be about. items: what it can point at.
    """
    front = document.front
    found = _fields(front, _FRONT, "front matter")
    if found:
        return tuple(found)
    for name, right in (("worksheet", "marginal risk"), *facts._asdict().items()):
        if front[name] != right:
            found.append(Problem(name, f"says '{front[name]}'", f"it is about '{right}'"))
    if front["level"] not in set(Level):
        found.append(Problem("level", "is no level", "one of " + ", ".join(Level)))
    found += _written(front["written_by"], "written_by")
    known = _baselines(front["baselines"], found)
    sections = _sections(document.body)
    rows = front["rows"]
    if not isinstance(rows, list) or not 0 < len(rows) <= ROWS_MAX:
        return (*found, Problem("rows", f"1 to {ROWS_MAX} threats, each with an actor"))
    seen: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    for place, row in enumerate(rows, 1):
        missing = _fields(row, _ROW, f"row {place}")
        found += missing
        if missing:
            continue
        found += _row(row, known, index(items))
        found += _steps(row, sections.get(str(row["id"])))
        pair = (str(row["threat"]), str(row["actor"]))
        if row["id"] in seen or pair in pairs:
            found.append(Problem(f"row {row['id']}", "is there twice", "one row for each pair"))
        seen.add(str(row["id"]))
        pairs.add(pair)
    for name in sections:
        if name not in seen:
            hint = "add it to 'rows', or take the section out"
            found.append(Problem(f"## {name}", "has no row in the front matter", hint))
    return tuple(found)


def must_be_complete(document: Document, facts: Facts, items: Sequence[Item]) -> None:
    """Raises Invalid unless the worksheet is complete; the message lists what is wrong."""
    problems = problems_of(document, facts, items)
    if problems:
        lines = [problem.line() for problem in problems[:PROBLEMS_SHOWN_MAX]]
        more = len(problems) - len(lines)
        message = "\n".join([*lines, *([f"and {more} more"] if more else [])])
        hint = "see all of it: dutchdoor release worksheet check"
        raise Invalid(message, code="worksheet_incomplete", hint=hint)


def rows_of(document: Document) -> tuple[Row, ...]:
    """The rows of a complete worksheet."""
    return tuple(
        Row(
            str(row["id"]),
            str(row["threat"]),
            str(row["actor"]),
            MarginalRisk(row["marginal_risk"]),
            str(row["confidence"]),
        )
        for row in document.front["rows"]
    )


def _baselines(value: Any, found: list[Problem]) -> set[str]:
    known: set[str] = set()
    for place, row in enumerate(value if isinstance(value, list) else [], 1):
        missing = _fields(row, {"id", "what"}, f"baseline {place}")
        found += missing or _written(row["what"], f"baseline {row['id']}")
        if not missing:
            known.add(str(row["id"]))
    for name in BASELINES:
        if name not in known:
            hint = "say which one was looked at and when, or why it is no help here"
            found.append(Problem("baselines", f"lacks {name}", hint))
    return known


def _row(
    row: Mapping[str, Any], known: set[str], items: Mapping[tuple[str, str], Item]
) -> list[Problem]:
    where = f"row {row['id']}"
    found = [
        *_written(row["threat"], f"{where}, threat"),
        *_written(row["actor"], f"{where}, actor"),
    ]
    if not _ID.fullmatch(str(row["id"])):
        found.append(Problem(where, "'id' is no word of small letters, digits and '-'"))
    named = row["baselines"]
    if not isinstance(named, list) or not named:
        hint = "risk is marginal only against something"
        found.append(Problem(where, "names no baseline", hint))
    elif set(map(str, named)) - known:
        extra = ", ".join(sorted(set(map(str, named)) - known))
        found.append(Problem(where, f"names baselines that are not described: {extra}"))
    risk, confidence = row["marginal_risk"], row["confidence"]
    if risk not in set(MarginalRisk):
        found.append(Problem(where, "marginal_risk", "one of " + ", ".join(MarginalRisk)))
    if confidence not in CONFIDENCES:
        found.append(Problem(where, "confidence", "one of " + ", ".join(CONFIDENCES)))
    links = row["evidence"] if isinstance(row["evidence"], list) else []
    checked = 0
    for place, link in enumerate(links, 1):
        problems, of_audit = _link(link, f"{where}, evidence {place}", items)
        found += problems
        checked += of_audit and not problems
    if risk != MarginalRisk.UNKNOWN and not links:
        hint = "point at evidence, or write 'unknown'"
        found.append(Problem(where, f"says '{risk}' and rests on nothing", hint))
    if confidence == "high" and not checked:
        hint = "high confidence rests on a finding, document or file of the audit"
        found.append(Problem(where, "is sure without evidence of the audit", hint))
    return found


def _link(
    link: Any, where: str, items: Mapping[tuple[str, str], Item]
) -> tuple[list[Problem], bool]:
    """What is wrong with a link, and whether it points into the audit."""
    kinds = [kind for kind in EvidenceKind if isinstance(link, dict) and str(kind) in link]
    if len(kinds) != 1:
        hint = "one of " + ", ".join(EvidenceKind)
        return [Problem(where, "points at nothing", hint)], False
    kind = kinds[0]
    if kind is EvidenceKind.OUTSIDE:
        fields = _fields(link, {"outside"}, where)
        return fields or _written(link["outside"], where), False
    fields = _fields(link, {str(kind), "digest"}, where)
    if fields:
        return fields, True
    name = str(link[str(kind)])
    item = items.get((str(kind), name))
    if item is None:
        known = ", ".join(row.name for row in items.values() if row.kind is kind) or "none"
        return [Problem(where, f"the audit has no {kind} '{name}'", f"it has: {known}")], True
    if link["digest"] != item.digest:
        hint = f"read it, then write digest: {item.digest}"
        return [Problem(where, f"{kind} {name} is not the one pointed at", hint)], True
    return [], True


def _steps(row: Mapping[str, Any], section: Mapping[str, str] | None) -> list[Problem]:
    name = row["id"]
    if section is None:
        return [Problem(f"## {name}", "is missing", "a section with the six steps")]
    found = []
    for step in STEPS:
        where = f"## {name}, {step}"
        if step not in section:
            found.append(Problem(where, "is missing", f"write '### {step}'"))
        else:
            found += _written(section[step], where)
    extra = sorted(set(section) - set(STEPS))
    found += [Problem(f"## {name}, {step}", "is none of the six steps") for step in extra]
    already = section.get(STEPS[1], "").replace("_", " ").lower()
    if already and _PLACEHOLDER not in already:
        for baseline in row["baselines"] if isinstance(row["baselines"], list) else []:
            if str(baseline).replace("_", " ").lower() not in already:
                hint = f"say what '{baseline}' gives this actor without the model"
                found.append(Problem(f"## {name}, {STEPS[1]}", f"leaves out {baseline}", hint))
    return found


def _sections(body: str) -> dict[str, dict[str, str]]:
    """The text under each `### step` of each `## id: title`, by id."""
    found: dict[str, dict[str, str]] = {}
    parts = re.split(r"^## ", body, flags=re.MULTILINE)[1:]
    for part in parts:
        title, _, rest = part.partition("\n")
        name = title.partition(":")[0].strip()
        if not title.partition(":")[1]:
            continue  # A heading without a colon is the writer's own.
        steps = re.split(r"^### ", rest, flags=re.MULTILINE)[1:]
        pairs = (step.partition("\n") for step in steps)
        found[name] = {heading.strip(): text.strip() for heading, _, text in pairs}
    return found


def _fields(value: Any, names: set[str], where: str) -> list[Problem]:
    if not isinstance(value, dict):
        return [Problem(where, "is no set of fields", "needs " + ", ".join(sorted(names)))]
    missing, unknown = sorted(names - set(value)), sorted(set(value) - names)
    return [
        *([Problem(where, f"lacks {', '.join(missing)}")] if missing else []),
        *([Problem(where, f"has unknown fields: {', '.join(unknown)}")] if unknown else []),
    ]


def _written(value: Any, where: str) -> list[Problem]:
    if not isinstance(value, str) or not value.strip():
        return [Problem(where, "is empty", "write it, or say that nobody knows")]
    if _PLACEHOLDER in value:
        return [Problem(where, f"still says '{_PLACEHOLDER} …'", "answer its question")]
    return []


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")
