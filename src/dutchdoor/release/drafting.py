"""A new proposal: the decision that a document starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dutchdoor.audit.summary import AuditSummary
from dutchdoor.evidence.decision import Audience, Decision, GuardTerms
from dutchdoor.evidence.terms import Terms
from dutchdoor.ids import BundleDigest, new_decision_id
from dutchdoor.release.model import DAY_MS, DEFAULTS, level_of
from dutchdoor.release.profiles.model import Profile, named, prefilled
from dutchdoor.release.proposal import PLACEHOLDER
from dutchdoor.release.terms import complete

__all__ = ["Wish", "draft"]


@dataclass(frozen=True)
class Wish:
    """What a proposer asks for.

    hidden_size: h of the model. vectors_max: None for h / 4. heard: besides those in `terms`.
    """

    level: str
    stage: str
    audiences: Sequence[Audience]
    hidden_size: int
    threshold: str
    hold_back_tokens: int
    vectors_max: int | None
    in_force_days: int
    terms: Terms
    heard: Sequence[str]


def draft(
    wish: Wish, summary: AuditSummary, profile: Profile, *, supersedes: str, now_ms: int
) -> Decision:
    """The decision, its reasons left empty; what the wish leaves open has its defaults.

    Raises Invalid: an unknown or not offered level, or terms that break a rule of decisions.
    """
    most = wish.vectors_max
    decision = Decision(
        id=new_decision_id(),
        bundle=BundleDigest(summary.bundle),
        model=summary.model,
        level=level_of(wish.level),
        stage=wish.stage,
        audiences=tuple(wish.audiences),
        guard=GuardTerms(summary.probe["digest"], wish.threshold, wish.hold_back_tokens),
        hidden_size=wish.hidden_size,
        vectors_max=wish.hidden_size // DEFAULTS.vectors_part if most is None else most,
        audit=summary.digest,
        reasons="",
        supersedes=supersedes,
        not_before_ms=now_ms,
        not_after_ms=now_ms + wish.in_force_days * DAY_MS,
    )
    decision.check()
    terms = complete(wish.terms, decision)
    place = f"{PLACEHOLDER}: who]"
    terms = replace(
        terms,
        heard=(*terms.heard, *(name for name in wish.heard if name not in terms.heard)),
        outside=prefilled(profile, terms, place),
        contacts=named(profile, terms, place),
    )
    decision = replace(decision, terms=terms)
    decision.check()
    return decision
