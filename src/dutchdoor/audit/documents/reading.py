"""Reads rows of documents for what is derived from them; forms are checked elsewhere.

Rows that are not in form are left out here: whoever signs hears of them from `check_form`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.measure import Evaluation
from dutchdoor.audit.model import DocumentKind, Finding, Severity
from dutchdoor.errors import Invalid, NotFound

__all__ = ["Impact", "Trial", "evaluations", "findings", "front_of", "impacts", "rows", "trials"]


class Impact(NamedTuple):
    """A row of S4."""

    id: str
    group: str
    text: str
    is_harm: bool
    severity: Severity
    principle: str
    harm: str


class Trial(NamedTuple):
    """A row of T2's tests, with the figures that follow where it names an evaluation."""

    id: str
    failure: str
    impact: str
    principle: str
    harm: str
    tried: int
    failed: int


def front_of(folder: AuditFolder, kind: DocumentKind) -> Mapping[str, Any]:
    """The document's front matter, empty where there is no such document."""
    try:
        return folder.read(kind).front
    except NotFound:
        return {}


def rows(front: Mapping[str, Any], name: str) -> tuple[dict[str, Any], ...]:
    """The rows of a field that are mappings."""
    value = front.get(name)
    return tuple(row for row in value if isinstance(row, dict)) if isinstance(value, list) else ()


def impacts(front: Mapping[str, Any]) -> tuple[Impact, ...]:
    """The impacts of S4."""
    found = []
    for row in rows(front, "impacts"):
        try:
            found.append(
                Impact(
                    id=str(row["id"]),
                    group=str(row["group"]),
                    text=str(row["impact"]),
                    is_harm=row.get("valence") != "benefit",
                    severity=Severity(row["severity"]),
                    principle=str(row["principle"]),
                    harm=str(row["harm"]),
                )
            )
        except (KeyError, ValueError):
            continue
    return tuple(found)


def evaluations(front: Mapping[str, Any]) -> tuple[Evaluation, ...]:
    """T2's figures. Raises Invalid: one is not in form."""
    return tuple(Evaluation.from_body(row) for row in rows(front, "evaluations"))


def findings(front: Mapping[str, Any]) -> tuple[Finding, ...]:
    """T2's findings. Raises Invalid: one is not in form."""
    return tuple(Finding.from_body(row) for row in rows(front, "findings"))


def trials(front: Mapping[str, Any]) -> tuple[Trial, ...]:
    """T2's tests. Where one names an evaluation, its figures are that evaluation's.

    Raises Invalid: it names an evaluation that was not run, or that measures no rate.
    """
    measured = {row.name: row for row in evaluations(front)}
    found = []
    for row in rows(front, "tests"):
        try:
            tried, failed = int(row["tried"]), int(row["failed"])
            name = str(row.get("evaluation") or "")
            if name:
                tried, failed = _figures(measured.get(name), name, str(row["failed_when"]))
            found.append(
                Trial(
                    id=str(row["id"]),
                    failure=str(row["failure"]),
                    impact=str(row["impact"]),
                    principle=str(row["principle"]),
                    harm=str(row["harm"]),
                    tried=tried,
                    failed=failed,
                )
            )
        except (KeyError, ValueError, TypeError):
            continue
    return tuple(found)


def _figures(evaluation: Evaluation | None, name: str, failed_when: str) -> tuple[int, int]:
    if evaluation is None:
        message = f"a test names the evaluation '{name}', which was not run"
        raise Invalid(message, code="evaluation_missing", hint="dutchdoor audit run")
    if failed_when not in {"hit", "miss"}:
        message = f"a test of '{name}' does not say when it failed: hit or miss"
        raise Invalid(message, code="document_unfinished")
    if not evaluation.is_measured:
        return 0, 0
    if not evaluation.is_rate:
        message = f"'{name}' measures no rate, so it counts no failures"
        hint = "say by hand how often it was tried and failed, and leave 'evaluation' empty"
        raise Invalid(message, code="evaluation_without_rate", hint=hint)
    hits = evaluation.hits
    return evaluation.n, hits if failed_when == "hit" else evaluation.n - hits
