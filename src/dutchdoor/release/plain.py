"""A decision's terms as people write them: `terms` in the front matter of decision.md.

What is left out has the default that `Terms` has; what is there and unknown is an error that names
the place and what may stand there.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any

from dutchdoor.audit.outputs.facts import COMPONENTS
from dutchdoor.clock import from_iso, to_iso
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Audience, Level
from dutchdoor.evidence.terms import (
    NO_TERMS,
    ROWS_MAX,
    TEXT_CHARS_MAX,
    ComponentAccess,
    StageTerms,
    Terms,
)
from dutchdoor.release.model import audience

__all__ = ["CONTACT_ROLES", "DUTIES", "GRADES", "plain_terms", "read_terms"]

DUTIES = ("condition", "licence", "non_objection")
"""What somebody outside may impose or owe; only the last two are approvals."""
CONTACT_ROLES = ("liability", "reporting", "incident", "press")
GRADES = ("", "software", "tpm", "tee")
PLAIN_TEXT_MAX = TEXT_CHARS_MAX

_Read = Callable[[Any, str], Any]


def plain_terms(terms: Terms) -> dict[str, Any]:
    """The terms in plain words, every field of them; `read_terms` gives the same terms back."""
    body = terms.to_body()
    review_ms = body.pop("review_by_ms")
    for stage in body["stages"]:
        stage["audiences"] = [
            {"audience": row["name"], "depths": row["depths"], "people": row["people"]}
            for row in stage["audiences"]
        ]
    return {**body, "review_by": to_iso(review_ms) if review_ms else ""}


def read_terms(value: Any, *, here: StageTerms | None = None, where: str = "terms") -> Terms:
    """The terms that plain values (unverified) state.

    here: the stage that is decided on; a row of the plan with its name may leave out its level and
    its audiences. where: the name of the place in errors.
    Raises Invalid: a field is unknown, out of its words, too long or of the wrong kind; the message
    says where, the hint what may stand there.
    """
    given = _mapping(value, where, _TERMS)
    body = {**NO_TERMS.to_body(), **given}
    if "review_by" in body:
        body["review_by_ms"] = body.pop("review_by")
    for place, row in enumerate(body["stages"]):
        if here is not None and row["name"] == here.name:
            row.setdefault("level", str(here.level))
            row.setdefault("audiences", _rows_of(here.audiences))
        for name in ("level", "audiences"):
            if name not in row:
                hint = "only the stage that is decided on may leave it out"
                raise _bad(f"{where}.stages[{place}]", f"'{name}' is missing", hint)
    return Terms.from_body(body)


def _rows_of(audiences: Iterable[Audience]) -> list[dict[str, Any]]:
    return [
        {"name": row.name, "depths": [str(depth) for depth in row.depths], "people": [*row.people]}
        for row in audiences
    ]


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _bad(where, "it is no text", "put it into quotes")
    if len(value) > PLAIN_TEXT_MAX:
        hint = "keep it short and put the rest into the audit"
        raise _bad(where, f"it has more than {PLAIN_TEXT_MAX} characters", hint)
    return value


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _bad(where, "it is no whole number", "0 asks for nothing")
    return value


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise _bad(where, "it is neither true nor false", "write true or false")
    return value


def _time(value: Any, where: str) -> int:
    text = _text(value, where)
    try:
        return from_iso(text) if text else 0
    except Invalid as error:
        raise _bad(where, error.message, error.hint) from error


def _one_of(words: Iterable[str]) -> _Read:
    known = tuple(str(word) for word in words)

    def read(value: Any, where: str) -> str:
        text = _text(value, where)
        if text not in known:
            near = difflib.get_close_matches(text, known, 1)
            meant = f"do you mean '{near[0]}'? " if near and near[0] else ""
            shown = ", ".join(word or "''" for word in known)
            raise _bad(where, f"'{text}' is not known", f"{meant}known: {shown}")
        return text

    return read


def _words(kind: type[StrEnum]) -> _Read:
    return _one_of(str(word) for word in kind)


def _list(read: _Read) -> _Read:
    def rows(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise _bad(where, "it is no list", "begin each row with '- '")
        if len(value) > ROWS_MAX:
            raise _bad(where, f"it has more than {ROWS_MAX} rows", "say it in fewer")
        return [read(row, f"{where}[{place}]") for place, row in enumerate(value)]

    return rows


def _arguments(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _bad(where, "it is no mapping", "write name: value, one a line")
    found = {}
    for name, item in value.items():
        # Numbers and yes or no are written as people write them, and signed as text.
        if isinstance(item, bool):
            item = "true" if item else "false"
        text = str(item) if isinstance(item, int) else item
        found[_text(name, where)] = _text(text, f"{where}.{name}")
    return found


def _audience(value: Any, where: str) -> dict[str, Any]:
    row = _mapping(value, where, _AUDIENCE, ("audience", "depths"))
    try:
        (found,) = _rows_of([audience(row["audience"], row["depths"], row.get("people", ()))])
    except Invalid as error:
        raise _bad(where, error.message, error.hint) from error
    return found


def _row(
    fields: Mapping[str, _Read], needed: Iterable[str], **defaults: Callable[[], Any]
) -> _Read:
    def read(value: Any, where: str) -> dict[str, Any]:
        found = _mapping(value, where, fields, needed)
        return {**{name: make() for name, make in defaults.items()}, **found}

    return read


def _mapping(
    value: Any, where: str, fields: Mapping[str, _Read], needed: Iterable[str] = ()
) -> dict[str, Any]:
    """What stands in `value`, read; a field that is empty (null) counts as left out."""
    known = "fields: " + ", ".join(fields)
    if not isinstance(value, dict):
        raise _bad(where, "it is no mapping", known)
    for name in value:
        if name not in fields:
            near = difflib.get_close_matches(str(name), list(fields), 1)
            meant = f"do you mean '{near[0]}'? " if near else ""
            raise _bad(where, f"'{name}' is no field", meant + known)
    found = {
        name: fields[name](item, f"{where}.{name}")
        for name, item in value.items()
        if item is not None
    }
    for name in needed:
        if name not in found:
            raise _bad(where, f"'{name}' is missing", known)
    return found


def _bad(where: str, why: str, hint: str) -> Invalid:
    return Invalid(f"decision.md, {where}: {why}", code="bad_terms", hint=hint)


_TEXTS = _list(_text)
_AUDIENCE: dict[str, _Read] = {"audience": _text, "depths": _TEXTS, "people": _TEXTS}
_CONDITION = _row({"kind": _text, "arguments": _arguments}, ["kind"], arguments=dict)
_STAGE = _row(
    {
        "name": _text,
        "level": _words(Level),
        "audiences": _list(_audience),
        "gates": _list(_CONDITION),
        "observation_days": _count,
        "roll_back": _list(_CONDITION),
    },
    ["name"],
    gates=list,
    observation_days=lambda: 30,
    roll_back=list,
)
_COMPONENT = _row(
    {
        "name": _one_of(COMPONENTS),
        "access": _words(ComponentAccess),
        "licence": _text,
        "conditions": _TEXTS,
    },
    ["name", "access"],
    licence=str,
    conditions=list,
)
_OUTSIDE = _row(
    {"by": _text, "duty": _one_of(DUTIES), "text": _text, "key": _text},
    ["by", "duty", "text"],
    key=str,
)
_CUSTODY = _row(
    {
        "shares_min": _count,
        "custodians_min": _count,
        "copies_max": _count,
        "grade": _one_of(GRADES),
    },
    [],
    shares_min=int,
    custodians_min=int,
    copies_max=int,
    grade=str,
)
_RUNTIME = _row(
    {"egress_bytes_day_max": _count, "hardening": _TEXTS, "tools": _flag},
    [],
    egress_bytes_day_max=int,
    hardening=list,
    tools=lambda: True,
)
_TERMS: dict[str, _Read] = {
    "profile": _text,
    "components": _list(_COMPONENT),
    "stages": _list(_STAGE),
    "safety_margin": _text,
    "void_if": _TEXTS,
    "heard": _TEXTS,
    "limitations": _TEXTS,
    "references": _list(_row({"name": _text, "digest": _text}, ["name", "digest"])),
    "outside": _list(_OUTSIDE),
    "contacts": _list(
        _row(
            {"role": _one_of(CONTACT_ROLES), "name": _text, "address": _text},
            ["role", "name", "address"],
        )
    ),
    "custody": _CUSTODY,
    "runtime": _RUNTIME,
    "review_by": _time,
}
