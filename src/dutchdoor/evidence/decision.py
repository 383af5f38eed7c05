"""The release decision's wire form, and what it takes to be one.

A decision is made in the room `release`; its form and the check of its signatures live here, low,
so that custody, access and an outside verifier can check it without knowing how it was made.
`evidence.register` says which decision is in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dutchdoor.errors import Invalid
from dutchdoor.evidence.hosts import Host
from dutchdoor.evidence.openness import Audience, Depth, Level
from dutchdoor.evidence.statement import open_statement
from dutchdoor.evidence.terms import NO_TERMS, Terms
from dutchdoor.ids import BundleDigest, DecisionId

__all__ = [
    "DECISION_KIND",
    "REVOCATION_KIND",
    "Audience",
    "Decision",
    "Depth",
    "GuardTerms",
    "Level",
    "Revocation",
    "Trust",
    "open_decision",
    "open_revocation",
    "signers_of",
]

DECISION_KIND = "release_decision"
REVOCATION_KIND = "release_revocation"


@dataclass(frozen=True)
class GuardTerms:
    """What the decision demands of the guard.

    probe: digest of the sealed probe, or "" at level fully closed, where none is fitted yet.
    threshold: the name of a threshold in the probe's card, for instance `fpr_0.01`.
    hold_back_tokens: at most so many tokens leave before the guard has judged them.
    """

    probe: str = ""
    threshold: str = ""
    hold_back_tokens: int = 0


@dataclass(frozen=True)
class Decision:
    """A signed release decision on exactly one bundle.

    vectors_max: independent vectors that may leave the model over all people, ever.
    hidden_size: h, the dimension at which a linear map is given away.
    audit: digest of the signed audit summary; only `fully_closed` does without one.
    terms: what it settles besides; without any, the body has no such field.
    """

    id: DecisionId
    bundle: BundleDigest
    model: str
    level: Level
    stage: str
    audiences: tuple[Audience, ...]
    guard: GuardTerms
    hidden_size: int
    vectors_max: int
    audit: str
    reasons: str
    supersedes: str
    not_before_ms: int
    not_after_ms: int
    terms: Terms = NO_TERMS

    def to_body(self) -> dict[str, Any]:
        """The statement's body, canonical values only."""
        terms = {} if self.terms == NO_TERMS else {"terms": self.terms.to_body()}
        return {
            **terms,
            "id": self.id,
            "bundle": self.bundle,
            "model": self.model,
            "level": str(self.level),
            "stage": self.stage,
            "audiences": [
                {"name": a.name, "depths": [str(d) for d in a.depths], "people": list(a.people)}
                for a in self.audiences
            ],
            "guard": {
                "probe": self.guard.probe,
                "threshold": self.guard.threshold,
                "hold_back_tokens": self.guard.hold_back_tokens,
            },
            "hidden_size": self.hidden_size,
            "vectors_max": self.vectors_max,
            "audit": self.audit,
            "reasons": self.reasons,
            "supersedes": self.supersedes,
            "not_before_ms": self.not_before_ms,
            "not_after_ms": self.not_after_ms,
        }

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Decision:
        """The decision of a statement's body.

        Raises Invalid: a field is missing, of the wrong type, or breaks a rule of decisions.
        """
        try:
            decision = _from_body(body)
        except (KeyError, TypeError, ValueError) as error:
            raise Invalid("not a release decision", code="bad_decision") from error
        if decision.to_body() != dict(body):
            raise Invalid("a release decision with unknown fields", code="bad_decision")
        decision.check()
        return decision

    def check(self) -> None:
        """Raises Invalid where the decision breaks a rule that no signature can mend."""
        if self.not_after_ms <= self.not_before_ms:
            raise Invalid("the decision ends before it begins", code="bad_decision")
        if not 0 <= self.vectors_max < max(self.hidden_size, 1):
            message = "vectors_max must stay below the hidden size"
            hint = "with h + 1 vectors the last layer is given away; h / 4 leaves 84 % error"
            raise Invalid(message, code="bad_decision", hint=hint)
        if self.guard.hold_back_tokens < 0:
            raise Invalid("hold_back_tokens is negative", code="bad_decision")
        self._check_terms()
        if self.level is Level.FULLY_CLOSED:
            if any(not audience.people for audience in self.audiences):
                message = "a fully closed decision names each person it lets in"
                raise Invalid(message, code="bad_decision")
        elif not self.audit or not self.guard.probe:
            message = f"level {self.level} needs a signed audit and a fitted guard"
            hint = "finish the audit first: dutchdoor audit run, then dutchdoor audit sign"
            raise Invalid(message, code="audit_missing", hint=hint)

    def _check_terms(self) -> None:
        planned = self.terms.stage(self.stage)
        if self.terms.stages and planned is None:
            message = f"the plan of stages has no stage '{self.stage}'"
            raise Invalid(message, code="bad_decision", hint="name the stage as the plan does")
        if planned and (planned.level, planned.audiences) != (self.level, self.audiences):
            message = "the decision opens something else than its stage in the plan does"
            raise Invalid(message, code="bad_decision", hint="level and audiences must be the same")
        review_ms = self.terms.review_by_ms
        if review_ms and not self.not_before_ms < review_ms <= self.not_after_ms:
            raise Invalid("review_by lies outside the decision's dates", code="bad_decision")

    @property
    def ends_ms(self) -> int:
        """From when on it is over: its last day, or the day of a review that renewed nothing."""
        return min(self.not_after_ms, self.terms.review_by_ms or self.not_after_ms)

    def depths_for(self, audience: str, person: str) -> frozenset[Depth]:
        """The depths the decision opens to this person; empty where it lets them not in."""
        depths: set[Depth] = set()
        for row in self.audiences:
            if row.name == audience and (not row.people or person in row.people):
                depths.update(row.depths)
        return frozenset(depths)


@dataclass(frozen=True)
class Revocation:
    """A signed revocation of one decision: nothing else comes into force by it."""

    decision: DecisionId
    bundle: BundleDigest
    reason: str


@dataclass(frozen=True)
class Trust:
    """The keys a verifier trusts; read from trust.json, never from what is being verified.

    log_origin, log_key: the log's name and Ed25519 public key. holder, approvers, auditors: public
    keys by key id. approvals_min: how many approvers must sign a decision above `fully_closed`.
    outside: of regulators and panels; they alone decide nothing, but a decision may demand them.
    hosts: whose evidence custodians believe, by id.
    """

    log_origin: str
    log_key: bytes
    holder: Mapping[str, bytes]
    approvers: Mapping[str, bytes]
    approvals_min: int
    auditors: Mapping[str, bytes] = field(default_factory=dict)
    outside: Mapping[str, bytes] = field(default_factory=dict)
    hosts: Mapping[str, Host] = field(default_factory=dict)


def open_decision(envelope: bytes, trust: Trust) -> Decision:
    """The decision in `envelope` (unverified bytes), signed by those who may decide it.

    Level `fully_closed` is the holder's to sign, alone; every other level takes
    `trust.approvals_min` approvers, and everyone outside whose signature its terms demand.
    Raises Invalid: malformed, breaks a rule of decisions, or lacks signatures.
    """
    everyone = {**trust.holder, **trust.approvers, **trust.outside}
    statement = open_statement(envelope, kind=DECISION_KIND, keys=everyone, signatures_min=1)
    decision = Decision.from_body(statement.body)
    closed = decision.level is Level.FULLY_CLOSED
    keys = trust.holder if closed else trust.approvers
    count = 1 if closed else trust.approvals_min
    open_statement(envelope, kind=DECISION_KIND, keys=keys, signatures_min=count)
    for key in sorted(decision.terms.outside_keys):
        demanded = {key: trust.outside[key]} if key in trust.outside else {}
        open_statement(envelope, kind=DECISION_KIND, keys=demanded, signatures_min=1)
    return decision


def signers_of(envelope: bytes, trust: Trust) -> frozenset[str]:
    """Key ids of all whom `trust` knows and who signed the decision in `envelope` (unverified).

    Raises Invalid: malformed, or a wrong signature by one of them.
    """
    everyone = {**trust.holder, **trust.approvers, **trust.outside}
    statement = open_statement(envelope, kind=DECISION_KIND, keys=everyone, signatures_min=1)
    return frozenset(statement.signers)


def open_revocation(envelope: bytes, trust: Trust) -> Revocation:
    """The revocation in `envelope` (unverified bytes): one approver or the holder suffices.

    Raises Invalid: malformed, or signed by neither.
    """
    keys = {**trust.holder, **trust.approvers}
    statement = open_statement(envelope, kind=REVOCATION_KIND, keys=keys, signatures_min=1)
    body = statement.body
    if set(body) != {"decision", "bundle", "reason"} or not all(
        isinstance(value, str) for value in body.values()
    ):
        raise Invalid("not a revocation", code="bad_decision")
    return Revocation(DecisionId(body["decision"]), BundleDigest(body["bundle"]), body["reason"])


def _from_body(body: Mapping[str, Any]) -> Decision:
    guard = body["guard"]
    return Decision(
        id=DecisionId(_text(body["id"])),
        bundle=BundleDigest(_text(body["bundle"])),
        model=_text(body["model"]),
        level=Level(body["level"]),
        stage=_text(body["stage"]),
        audiences=tuple(
            Audience(
                _text(row["name"]),
                tuple(Depth(depth) for depth in row["depths"]),
                tuple(_text(person) for person in row["people"]),
            )
            for row in body["audiences"]
        ),
        guard=GuardTerms(
            _text(guard["probe"]), _text(guard["threshold"]), _count(guard["hold_back_tokens"])
        ),
        hidden_size=_count(body["hidden_size"]),
        vectors_max=_count(body["vectors_max"]),
        audit=_text(body["audit"]),
        reasons=_text(body["reasons"]),
        supersedes=_text(body["supersedes"]),
        not_before_ms=_count(body["not_before_ms"]),
        not_after_ms=_count(body["not_after_ms"]),
        terms=Terms.from_body(body["terms"]) if "terms" in body else NO_TERMS,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError("not an integer")
    return value
