"""What a decision settles besides, judged a second time: its form, its dates, whom it demands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dutchdoor.errors import Invalid

__all__ = ["LEVELS", "Stated", "is_audience", "read_terms"]

LEVELS = (
    "fully_closed",
    "gradual_staged",
    "hosted",
    "cloud_api",
    "downloadable",
    "fully_open",
)
_DEPTHS = (
    "sampling",
    "decoding_control",
    "logprobs",
    "logits",
    "activations",
    "interventions",
    "gradients",
    "fine_tuning",
    "audit",
)
_ACCESS = ("closed", "auditors", "vetted", "served", "gated_download", "public")
_ROWS_MAX, _CHARS_MAX = 64, 4_000


@dataclass(frozen=True)
class Stated:
    """What terms say that the log's rules depend on.

    review_by_ms: 0, or when the decision ends. demanded: key ids outside that must have signed.
    grade: that the host of an opening must show, "" for none.
    """

    review_by_ms: int = 0
    demanded: frozenset[str] = frozenset()
    grade: str = ""


def read_terms(value: Any, body: Mapping[str, Any]) -> Stated:
    """The terms of a decision (unverified). body: of the decision, its other fields in form.

    Raises Invalid: a field is missing, unknown, too long or of the wrong type, or the terms say
    something else than the decision.
    """
    if not _fits(value, _TERMS):
        raise Invalid("a decision's terms are out of form", code="bad_terms")
    if value == _NONE:
        raise Invalid("terms that say nothing are left out", code="bad_terms")
    stages = {row["name"]: row for row in value["stages"]}
    parts = {row["name"] for row in value["components"]}
    if len(stages) < len(value["stages"]) or len(parts) < len(value["components"]):
        raise Invalid("a stage or a component is named twice", code="bad_terms")
    here = stages.get(body["stage"])
    if stages and here is None:
        raise Invalid("the plan of stages has not the decision's stage", code="bad_decision")
    if here and (here["level"], here["audiences"]) != (body["level"], body["audiences"]):
        raise Invalid("the decision opens something else than its stage", code="bad_decision")
    review_ms = value["review_by_ms"]
    if review_ms and not body["not_before_ms"] < review_ms <= body["not_after_ms"]:
        raise Invalid("review_by lies outside the decision's dates", code="bad_decision")
    demanded = frozenset(row["key"] for row in value["outside"] if row["key"])
    return Stated(review_ms, demanded, value["custody"]["grade"])


def is_audience(row: Any) -> bool:
    """Whether `row` is a row of whom a decision lets in, and how deep."""
    return (
        type(row) is dict
        and row.keys() == {"name", "depths", "people"}
        and type(row["name"]) is str
        and type(row["depths"]) is list
        and type(row["people"]) is list
        and all(depth in _DEPTHS for depth in row["depths"])
        and all(type(person) is str for person in row["people"])
    )


def _text(value: Any) -> bool:
    return type(value) is str and len(value) <= _CHARS_MAX


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _flag(value: Any) -> bool:
    return type(value) is bool


def _level(value: Any) -> bool:
    return value in LEVELS


def _access(value: Any) -> bool:
    return value in _ACCESS


def _audience(value: Any) -> bool:
    return (
        is_audience(value)
        and _text(value["name"])
        and _rows(_text)(value["people"])
        and len(value["depths"]) <= _ROWS_MAX
    )


def _arguments(value: Any) -> bool:
    return type(value) is dict and all(_text(k) and _text(v) for k, v in value.items())


def _rows(judge: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        type(value) is list and len(value) <= _ROWS_MAX and all(judge(row) for row in value)
    )


def _object(**fields: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: _fits(value, fields)


def _fits(value: Any, fields: Mapping[str, Callable[[Any], bool]]) -> bool:
    return (
        type(value) is dict
        and value.keys() == fields.keys()
        and all(judge(value[name]) for name, judge in fields.items())
    )


_CONDITION = _object(kind=_text, arguments=_arguments)
_TERMS = {
    "profile": _text,
    "components": _rows(
        _object(name=_text, access=_access, licence=_text, conditions=_rows(_text))
    ),
    "stages": _rows(
        _object(
            name=_text,
            level=_level,
            audiences=_rows(_audience),
            gates=_rows(_CONDITION),
            observation_days=_count,
            roll_back=_rows(_CONDITION),
        )
    ),
    "safety_margin": _text,
    "void_if": _rows(_text),
    "heard": _rows(_text),
    "limitations": _rows(_text),
    "references": _rows(_object(name=_text, digest=_text)),
    "outside": _rows(_object(by=_text, duty=_text, text=_text, key=_text)),
    "contacts": _rows(_object(role=_text, name=_text, address=_text)),
    "custody": _object(shares_min=_count, custodians_min=_count, copies_max=_count, grade=_text),
    "runtime": _object(egress_bytes_day_max=_count, hardening=_rows(_text), tools=_flag),
    "review_by_ms": _count,
}

# A decision without terms has no such field: one decision has one sequence of bytes.
_NONE: dict[str, Any] = {
    **{name: [] for name in _TERMS},
    "profile": "",
    "safety_margin": "",
    "custody": {"shares_min": 0, "custodians_min": 0, "copies_max": 0, "grade": ""},
    "runtime": {"egress_bytes_day_max": 0, "hardening": [], "tools": True},
    "review_by_ms": 0,
}
