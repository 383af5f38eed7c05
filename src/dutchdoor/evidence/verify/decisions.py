"""Which decision is in force, judged a second time from the envelopes in the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dutchdoor.errors import Invalid
from dutchdoor.evidence.verify.keys import Trusted, open_claim, unbase64
from dutchdoor.evidence.verify.reviews import Reviews
from dutchdoor.evidence.verify.terms import LEVELS, Stated, is_audience, read_terms

__all__ = ["Decided", "Decisions"]

_CLOSED = "fully_closed"
_TEXTS = ("id", "bundle", "model", "level", "stage", "audit", "reasons", "supersedes")
_NUMBERS = ("hidden_size", "vectors_max", "not_before_ms", "not_after_ms")


@dataclass(frozen=True)
class Decided:
    """What a decision in force allows. audiences: pairs of depths and people.

    audit: what it stands on, "" at level fully closed. review_by_ms: 0, or when it ends unless a
    later decision took its place. demanded: key ids outside that must have signed it.
    grade: that the host of each opening must show, "" for none.
    """

    id: str
    audit: str
    not_before_ms: int
    not_after_ms: int
    audiences: tuple[tuple[frozenset[str], frozenset[str]], ...]
    review_by_ms: int = 0
    demanded: frozenset[str] = frozenset()
    level: str = ""
    grade: str = ""

    def opens(self, depth: str, person: str) -> bool:
        """Whether any audience has this depth, and does not exclude this person by name."""
        return any(
            depth in depths and (not people or person in people)
            for depths, people in self.audiences
        )


class Decisions:
    """Follows the log's decisions and revocations, in order."""

    def __init__(self, trusted: Trusted) -> None:
        self.count = 0
        self.reviews = Reviews(trusted)
        self._trusted = trusted
        self._signed: dict[str, int] = {}
        self._first_named_ms: dict[tuple[str, str], int] = {}
        self._current: dict[str, Decided | str] = {}
        self._ids: set[str] = set()
        self._revoked: set[str] = set()

    def sign(self, index: int, time_ms: int, body: Mapping[str, Any]) -> str:
        """Bring the decision of an entry's body into force; gives what forbids it, or ''.

        index, time_ms: of the entry.
        """
        try:
            decided = self._read(body)
        except Invalid as error:
            return error.message
        if decided.id in self._revoked:
            return "the decision was revoked before"
        if decided.id in self._ids:
            return "the decision stands in the log already"
        self._ids.add(decided.id)
        self._current[body["bundle"]] = decided
        self._signed[decided.id] = index
        self._first_named_ms.setdefault((body["bundle"], decided.audit), time_ms)
        self.count += 1
        return ""

    def revoke(self, body: Mapping[str, Any]) -> str:
        """Carry out the revocation of an entry's body; gives what forbids it, or ''."""
        trusted = self._trusted
        try:
            envelope = unbase64(body["envelope"])
            keys = {**trusted.holder, **trusted.approvers}
            claim = open_claim(envelope, "release_revocation", keys, 1)
        except Invalid as error:
            return error.message
        names = {"decision", "bundle", "reason"}
        if claim.keys() != names or body.keys() != names | {"envelope"}:
            return "not a revocation"
        if any(not isinstance(claim[name], str) or claim[name] != body[name] for name in names):
            return "the entry says something else than its envelope"
        self._revoked.add(claim["decision"])
        for bundle, current in self._current.items():
            if isinstance(current, Decided) and current.id == claim["decision"]:
                self._current[bundle] = f"{current.id} was revoked"
        return ""

    def in_force(self, bundle: str, decision: str, time_ms: int) -> Decided | str:
        """The decision named `decision` if it is in force for `bundle`, or why it is not."""
        current = self._current.get(bundle, "no decision was ever signed on its bundle")
        if isinstance(current, str):
            return current
        if current.id != decision:
            return f"{decision} is not the decision in force, {current.id} is"
        if not current.not_before_ms <= time_ms < current.not_after_ms:
            return f"{decision} is not in force at that time"
        if current.review_by_ms and time_ms >= current.review_by_ms:
            return f"{decision} was to be reviewed before that time, and was not"
        if current.audit:
            first_ms = self._first_named_ms[bundle, current.audit]
            signed = self._signed[decision]
            if self.reviews.overdue(bundle, current.audit, signed, first_ms, time_ms):
                return f"the audit under {decision} was overdue"
        return current

    def _read(self, entry: Mapping[str, Any]) -> Decided:
        trusted = self._trusted
        envelope = unbase64(entry["envelope"])
        closed = entry["level"] == _CLOSED
        keys = trusted.holder if closed else trusted.approvers
        # A wrong signature by any trusted key counts against the decision, so all are opened.
        everyone = {**trusted.holder, **trusted.approvers, **trusted.outside}
        body = open_claim(envelope, "release_decision", everyone, 1)
        open_claim(envelope, "release_decision", keys, 1 if closed else trusted.approvals_min)
        try:
            decided = _decided(entry, body)
        except (KeyError, TypeError, AttributeError) as error:
            raise Invalid("not a release decision", code="bad_decision") from error
        for key in sorted(decided.demanded):
            outside = {key: trusted.outside[key]} if key in trusted.outside else {}
            open_claim(envelope, "release_decision", outside, 1)
        return decided


def _decided(entry: Mapping[str, Any], body: Mapping[str, Any]) -> Decided:
    guard, audiences = body["guard"], body["audiences"]
    fits = (
        body.keys() - {"terms"} == {*_TEXTS, *_NUMBERS, "guard", "audiences"}
        and guard.keys() == {"probe", "threshold", "hold_back_tokens"}
        and all(type(body[name]) is str for name in _TEXTS)
        and all(type(body[name]) is int for name in _NUMBERS)
        and type(guard["probe"]) is str
        and type(guard["threshold"]) is str
        and type(guard["hold_back_tokens"]) is int
        and type(audiences) is list
        and all(is_audience(row) for row in audiences)
    )
    if not fits:
        raise Invalid("not a release decision", code="bad_decision")
    said = {"decision": body["id"], "bundle": body["bundle"], "level": body["level"]}
    if {name: entry[name] for name in said} != said or len(entry) != 4:
        raise Invalid("the entry says something else than its envelope", code="bad_decision")
    if body["not_after_ms"] <= body["not_before_ms"] or guard["hold_back_tokens"] < 0:
        raise Invalid("a decision with impossible terms", code="bad_decision")
    if not 0 <= body["vectors_max"] < max(body["hidden_size"], 1):
        raise Invalid("a decision that gives the last layer away", code="bad_decision")
    if body["level"] == _CLOSED:
        if not all(row["people"] for row in audiences):
            raise Invalid("a fully closed decision that names nobody", code="bad_decision")
    elif body["level"] not in LEVELS or not body["audit"] or not guard["probe"]:
        raise Invalid("a decision without audit or guard", code="bad_decision")
    stated = read_terms(body["terms"], body) if "terms" in body else Stated()
    return Decided(
        body["id"],
        "" if body["level"] == _CLOSED else body["audit"],
        body["not_before_ms"],
        body["not_after_ms"],
        tuple((frozenset(row["depths"]), frozenset(row["people"])) for row in audiences),
        stated.review_by_ms,
        stated.demanded,
        body["level"],
        stated.grade,
    )
