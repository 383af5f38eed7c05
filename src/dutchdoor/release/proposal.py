"""A proposal's document and the decision in it: two readings of the same text.

The front matter holds the decision's terms in plain words, the body its reasons. All of both is in
what approvers sign: the body, and what a decision has no field for, become its `reasons`. A
document of before there were `terms` still says what it said; who was heard then stands in its
`reasons`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.assumptions import parse_assumptions
from dutchdoor.audit.document import Document
from dutchdoor.clock import from_iso, to_iso
from dutchdoor.errors import Invalid
from dutchdoor.evidence.decision import Audience, Decision, GuardTerms, Level
from dutchdoor.evidence.terms import NO_TERMS, StageTerms
from dutchdoor.ids import BundleDigest, DecisionId
from dutchdoor.release.model import DEFAULTS, audience
from dutchdoor.release.plain import plain_terms, read_terms
from dutchdoor.release.profiles.model import must_be_written
from dutchdoor.release.terms import must_agree, placeholders

__all__ = ["PLACEHOLDER", "decision_of", "document_of", "fresh_body"]

PLACEHOLDER = "[write here"
_FIELDS = frozenset(
    {
        "proposal",
        "decision",
        "model",
        "bundle",
        "level",
        "stage",
        "audiences",
        "guard",
        "hidden_size",
        "vectors_max",
        "audit",
        "supersedes",
        "in_force_from",
        "in_force_until",
        "observation_days",
        "proposed_by",
        "proposed_by_key",
    }
)

_OPTIONAL = frozenset({"assumptions"})


def fresh_body(decision: Decision, reasons: str) -> str:
    """A new decision's text; without reasons, with a place to write them in."""
    template = resources.files("dutchdoor.release").joinpath("templates", "decision.md")
    return Template(template.read_text(encoding="utf-8")).substitute(
        model=decision.model,
        stage=decision.stage,
        reasons=reasons or f"{PLACEHOLDER}: why the risk is acceptable, and for what good]",
    )


def document_of(
    proposal: str,
    decision: Decision,
    body: str,
    *,
    proposed_by: str,
    proposed_by_key: str,
    observation_days: int,
) -> Document:
    """The document of a proposal; `decision.reasons` is left aside, `body` takes its place."""
    front: dict[str, Any] = {
        "proposal": proposal,
        "decision": decision.id,
        "model": decision.model,
        "bundle": decision.bundle,
        "level": str(decision.level),
        "stage": decision.stage,
        "audiences": [
            {
                "audience": row.name,
                "depths": [str(depth) for depth in row.depths],
                "people": list(row.people),
            }
            for row in decision.audiences
        ],
        "guard": {
            "probe": decision.guard.probe,
            "threshold": decision.guard.threshold,
            "hold_back_tokens": decision.guard.hold_back_tokens,
        },
        "hidden_size": decision.hidden_size,
        "vectors_max": decision.vectors_max,
        "audit": decision.audit,
        "supersedes": decision.supersedes,
        "in_force_from": to_iso(decision.not_before_ms),
        "in_force_until": to_iso(decision.not_after_ms),
        "observation_days": observation_days,
        "proposed_by": proposed_by,
        "proposed_by_key": proposed_by_key,
        "terms": plain_terms(decision.terms),
        "assumptions": [],
    }
    return Document(front, body)


def decision_of(document: Document) -> Decision:
    """The decision that the document (unverified) states.

    Raises Invalid: a field is missing, unknown or of the wrong kind, an audience, depth or level
    is unknown, the text has a place left to write in or is too long, or the decision breaks a
    rule of decisions.
    """
    front = document.front
    older = "heard" in front and "terms" not in front
    fields = _FIELDS | {"heard" if older else "terms"}
    unknown = sorted((set(front) - _OPTIONAL) ^ fields)
    if unknown:
        word = "missing" if unknown[0] in fields else "not a field of a decision"
        raise _bad(f"'{unknown[0]}' is {word}", "docs/reference/decision.md has the fields")
    guard = front["guard"]
    if not isinstance(guard, dict) or set(guard) != {"probe", "threshold", "hold_back_tokens"}:
        raise _bad("'guard' needs probe, threshold and hold_back_tokens")
    rows = front["audiences"]
    if not isinstance(rows, list) or not rows:
        raise _bad("'audiences' names nobody")
    level, stage = _level(_text(front, "level")), _text(front, "stage")
    audiences = tuple(_audience(row) for row in rows)
    here = StageTerms(stage, level, audiences)
    decision = Decision(
        id=DecisionId(_text(front, "decision")),
        bundle=BundleDigest(_text(front, "bundle")),
        model=_text(front, "model"),
        level=level,
        stage=stage,
        audiences=audiences,
        guard=GuardTerms(
            _text(guard, "probe"), _text(guard, "threshold"), _count(guard, "hold_back_tokens")
        ),
        hidden_size=_count(front, "hidden_size"),
        vectors_max=_count(front, "vectors_max"),
        audit=_text(front, "audit"),
        reasons=_reasons(document),
        supersedes=_text(front, "supersedes"),
        not_before_ms=from_iso(_text(front, "in_force_from")),
        not_after_ms=from_iso(_text(front, "in_force_until")),
        terms=read_terms(front["terms"], here=here) if "terms" in front else NO_TERMS,
    )
    decision.check()
    must_agree(decision)
    must_be_written(decision.terms)
    if placeholders(decision.terms, PLACEHOLDER):
        hint = "say who, in terms.outside and terms.contacts"
        raise _bad(f"the terms still have a place that says '{PLACEHOLDER}'", hint)
    size = len(canonical.encode(decision.to_body()))
    if size > DEFAULTS.decision_bytes_max:
        hint = "keep terms and reasons short and put the rest into the audit"
        raise _bad(f"it has {size} bytes, {DEFAULTS.decision_bytes_max} are allowed", hint)
    return decision


def _reasons(document: Document) -> str:
    front = document.front
    if PLACEHOLDER in document.body:
        hint = "write the decision's reasons into decision.md"
        raise _bad(f"the text still has a place that says '{PLACEHOLDER}'", hint)
    key = _text(front, "proposed_by_key")
    lines = [
        document.body.strip(),
        "",
        f"Proposed by: {_text(front, 'proposed_by')}{f' ({key})' if key else ''}.",
        f"Watched for {_count(front, 'observation_days')} days before a wider stage is proposed.",
        *_heard(front),
        f"Proposal: {_text(front, 'proposal')}.",
    ]
    lines += [row.to_line() for row in parse_assumptions(front.get("assumptions", []))]
    text = "\n".join(lines)
    if len(text.encode()) > DEFAULTS.reasons_bytes_max:
        raise _bad(
            f"the text is longer than {DEFAULTS.reasons_bytes_max} bytes",
            "keep the reasons short and put the rest into the audit",
        )
    return text


def _heard(front: Mapping[str, Any]) -> list[str]:
    if "terms" in front:
        return []  # It has its place in the terms.
    heard = front["heard"]
    if not isinstance(heard, list) or not all(isinstance(name, str) for name in heard):
        raise _bad("'heard' is no list of names")
    return [f"Heard: {', '.join(heard) or 'nobody besides'}."]


def _audience(row: Any) -> Audience:
    if not isinstance(row, dict) or set(row) != {"audience", "depths", "people"}:
        raise _bad("a row of 'audiences' needs audience, depths and people")
    for name in ("depths", "people"):
        value = row[name]
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _bad(f"'{name}' of an audience is no list of words")
    return audience(str(row["audience"]), row["depths"], row["people"])


def _level(word: str) -> Level:
    try:
        return Level(word)
    except ValueError as error:
        hint = "known: " + ", ".join(Level)
        raise Invalid(f"no level '{word}'", code="unknown_level", hint=hint) from error


def _text(front: Mapping[str, Any], name: str) -> str:
    value = front[name]
    if not isinstance(value, str):
        raise _bad(f"'{name}' is no text", "put it into quotes")
    return value


def _count(front: Mapping[str, Any], name: str) -> int:
    value = front[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _bad(f"'{name}' is no whole number")
    return value


def _bad(message: str, hint: str = "") -> Invalid:
    return Invalid(f"decision.md: {message}", code="bad_proposal", hint=hint)
