"""Fields of documents: their shapes, and the check that a front matter has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import partial
from typing import Any

from dutchdoor.errors import Invalid

__all__ = [
    "PLACEHOLDER",
    "ROWS_MAX",
    "Cell",
    "Column",
    "Field",
    "Form",
    "Shape",
    "check_form",
    "form_problems",
    "unfinished",
]

PLACEHOLDER = "[write here"
ROWS_MAX = 1_000
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,63}")
SCORE_MAX = 10


class Cell(StrEnum):
    """What one value is."""

    TEXT = "text"
    NOTE = "text, may be empty"
    ID = "id"
    FLAG = "true or false"
    SCORE = "1 to 10"
    COUNT = "whole number"
    DATE = "date, YYYY-MM-DD"
    DIGEST = "sha256 digest"
    DIGEST_OR_NONE = "sha256 digest or empty"
    CHOICE = "one of"
    PRINCIPLE = "id of S0"
    HARM = "id of a harm"
    CITED = "id of another document's row"
    DERIVED = "made by the program"


class Shape(StrEnum):
    """Whether a field is one value, a list of texts, or rows of columns."""

    VALUE = "value"
    TEXTS = "list of texts"
    ROWS = "rows"


@dataclass(frozen=True)
class Column:
    """One column of rows. meaning: for the reference, as a phrase."""

    name: str
    meaning: str
    cell: Cell = Cell.TEXT
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Field:
    """One field of the front matter.

    unless: another field that excuses this one from being filled, by saying why.
    """

    name: str
    meaning: str
    shape: Shape = Shape.VALUE
    cell: Cell = Cell.TEXT
    columns: tuple[Column, ...] = ()
    choices: tuple[str, ...] = ()
    required: bool = True
    unless: str = ""


@dataclass(frozen=True)
class Form:
    """What a document has. sections: headings of its body that have text under them.

    open: other fields may be there, because other parts of the program write them.
    """

    fields: tuple[Field, ...]
    sections: tuple[str, ...] = ()
    open: bool = False


def unfinished(document: str, why: str) -> Invalid:
    """The error that a document cannot be signed as it is."""
    hint = "edit it; docs/reference/audit-documents.md has its fields"
    message = f"{document} cannot be signed: {why}"
    return Invalid(message, code="document_unfinished", hint=hint)


def check_form(
    document: str, form: Form, front: Mapping[str, Any], body: str, head: frozenset[str]
) -> None:
    """Raises Invalid unless the front matter and body have what the form asks.

    document: its code, for errors. head: fields that every document has.
    """
    known = head | {field.name for field in form.fields}
    unknown = sorted(set(front) - known)
    if unknown and not form.open:
        raise unfinished(document, f"'{unknown[0]}' is not one of its fields")
    if _holds_placeholder(front):
        raise unfinished(document, f"a field still says '{PLACEHOLDER}'")
    for field in form.fields:
        _check_field(document, field, front)
    for section in form.sections:
        _check_section(document, section, body)


def form_problems(
    form: Form, front: Mapping[str, Any], body: str, head: frozenset[str]
) -> list[tuple[str, str]]:
    """All that `check_form` would find, one after the other: (field or section, what is wrong)."""
    found: list[tuple[str, str]] = []
    known = head | {field.name for field in form.fields}
    unknown = [] if form.open else sorted(set(front) - known)
    found += [(name, f"'{name}' is not one of its fields") for name in unknown]
    found += [
        (name, f"a field still says '{PLACEHOLDER}'")
        for name, value in front.items()
        if _holds_placeholder(value)
    ]
    checks: list[tuple[str, Callable[[], None]]] = [
        (field.name, partial(_check_field, "", field, front)) for field in form.fields
    ]
    checks += [(name, partial(_check_section, "", name, body)) for name in form.sections]
    for where, check in checks:
        try:
            check()
        except Invalid as error:
            found.append((where, error.message.removeprefix(" cannot be signed: ")))
    return found


def _check_field(document: str, field: Field, front: Mapping[str, Any]) -> None:
    value = front.get(field.name)
    if value in (None, "", []):
        excused = field.unless and str(front.get(field.unless) or "").strip()
        if field.required and not excused:
            raise unfinished(document, f"'{field.name}' is empty")
        return
    if field.shape is Shape.VALUE:
        _check_cell(document, field.name, value, field.cell, field.choices)
        return
    if not isinstance(value, list) or len(value) > ROWS_MAX:
        raise unfinished(document, f"'{field.name}' is no list of at most {ROWS_MAX} rows")
    if field.shape is Shape.TEXTS:
        for item in value:
            _check_cell(document, field.name, item, Cell.TEXT, ())
        return
    _check_rows(document, field, value)


def _check_rows(document: str, field: Field, rows: Sequence[Any]) -> None:
    names = {column.name for column in field.columns}
    needed = {column.name for column in field.columns if column.cell is not Cell.DERIVED}
    for row in rows:
        if not isinstance(row, dict) or not needed <= set(row) <= names:
            wanted = ", ".join(column.name for column in field.columns)
            raise unfinished(document, f"a row of '{field.name}' has not just these: {wanted}")
        for column in field.columns:
            if column.cell is not Cell.DERIVED:
                where = f"{column.name} in {field.name}"
                _check_cell(document, where, row[column.name], column.cell, column.choices)
    if "id" in names:
        ids = [row["id"] for row in rows]
        if len(set(ids)) != len(ids):
            raise unfinished(document, f"two rows of '{field.name}' have the same id")


def _check_cell(
    document: str, where: str, value: Any, cell: Cell, choices: tuple[str, ...]
) -> None:
    if not _fits(value, cell, choices):
        wanted = f"{cell} {', '.join(choices)}" if choices else str(cell)
        raise unfinished(document, f"{where} is not: {wanted}")


def _fits(value: Any, cell: Cell, choices: tuple[str, ...]) -> bool:
    if cell is Cell.FLAG:
        return isinstance(value, bool)
    if cell in {Cell.SCORE, Cell.COUNT}:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and (1 <= value <= SCORE_MAX if cell is Cell.SCORE else value >= 0)
    if cell is Cell.CHOICE:
        return str(value).lower() in choices if isinstance(value, bool) else value in choices
    if cell is Cell.DERIVED:
        return True
    if not isinstance(value, str):
        return False
    if cell is Cell.NOTE:
        return True
    if cell is Cell.DIGEST_OR_NONE and not value:
        return True
    if cell in {Cell.DIGEST, Cell.DIGEST_OR_NONE}:
        return bool(_DIGEST.fullmatch(value))
    if cell in {Cell.ID, Cell.CITED}:
        return bool(_ID.fullmatch(value))
    if cell is Cell.DATE:
        return _is_date(value)
    return bool(value.strip())


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _check_section(document: str, section: str, body: str) -> None:
    pattern = rf"^## {re.escape(section)}[ \t]*\n(.*?)(?=^## |\Z)"
    match = re.search(pattern, body, re.MULTILINE | re.DOTALL)
    if match is None or not match.group(1).strip():
        raise unfinished(document, f"the section '{section}' is missing or empty")


def _holds_placeholder(value: Any) -> bool:
    if isinstance(value, str):
        return PLACEHOLDER in value
    if isinstance(value, dict):
        return any(_holds_placeholder(item) for item in value.values())
    return isinstance(value, list) and any(_holds_placeholder(item) for item in value)
