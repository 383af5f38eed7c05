"""The ten recommendations, what somebody claims of each, and what the program can see.

Source: "Navigating the Open-Source AI Landscape: Data, Funding, and Safety" (April 2023), its list
of ten recommendations to developers and companies; here in our words.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dutchdoor.audit.model import Scale
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.reviews import Review

__all__ = [
    "RECOMMENDATIONS",
    "Claim",
    "DecisionFact",
    "Facts",
    "Look",
    "Recommendation",
    "Row",
    "Shown",
    "Status",
    "judge",
]


@dataclass(frozen=True)
class Recommendation:
    """One of the ten. looks_at: what the program sees of it, as a phrase."""

    name: str
    text: str
    looks_at: str


RECOMMENDATIONS = (
    Recommendation(
        "safety_before_speed",
        "Safety comes before speed: a model is examined before it is published.",
        "that no decision above fully closed was signed without its audit in the log before it",
    ),
    Recommendation(
        "regular_audits",
        "Models are audited again and brought up to date, regularly.",
        "when the audit under the decision was last reviewed, and what is due",
    ),
    Recommendation(
        "external_feedback",
        "Red teams, testers and third parties are heard before a release.",
        "grants to red teams, safety institutes and other outsiders before the decision",
    ),
    Recommendation(
        "public_commitments",
        "Responsible practice is committed to in public.",
        "the commitments listed, and whether the decision in force names their digest",
    ),
    Recommendation(
        "structured_access",
        "Access is structured: only who is authorised and knows how uses the model.",
        "the level in force, its audiences, and the grants under it",
    ),
    Recommendation(
        "agentic_limits",
        "Systems that act on their own are avoided.",
        "whether the decision in force allows tools, and whether a grant is agentic",
    ),
    Recommendation(
        "limitations_told",
        "Users are told what the model cannot do.",
        "the limitations in the decision in force, which API and console show",
    ),
    Recommendation(
        "training_exclusions",
        "Harmful data sets are left out of the training.",
        "the exclusions declared, and the training manifest held against them",
    ),
    Recommendation(
        "moderation_data",
        "Data for the moderation of content is given to all.",
        "an export of the guard's rules and labelled prompts, and where it is published",
    ),
    Recommendation(
        "infohazard_policy",
        "A policy says which information must not spread.",
        "the written policy, and how the audits' documents are marked",
    ),
)


class Claim(StrEnum):
    """What the holder says of a recommendation."""

    ADOPTED = "adopted"
    PARTLY = "partly"
    EXPLAINED = "explained"
    OPEN = "open"


class Shown(StrEnum):
    """What the program sees: that it is so, in part, nothing, or that the opposite is so."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"
    AGAINST = "against"


class Status(StrEnum):
    """What stands in the checklist."""

    ADOPTED = "adopted"
    PARTLY = "partly"
    EXPLAINED = "explained"
    MISSING = "missing"
    CONTRADICTED = "contradicted"


@dataclass(frozen=True)
class Look:
    """What one look gave, with its evidence as sentences that name things by id or digest."""

    shown: Shown
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One line of the checklist. why: the holder's words."""

    recommendation: Recommendation
    claim: Claim
    why: str
    look: Look
    status: Status


@dataclass(frozen=True)
class DecisionFact:
    """A decision that was ever signed. audited: its audit stands in the log before it."""

    id: str
    level: str
    audited: bool


@dataclass(frozen=True)
class Facts:
    """What a workspace shows of one bundle.

    decisions: all ever signed, in the log's order. in_force: the one in force, or None. outsiders:
    of people with a grant that began before the decision: audience and organisation. grants:
    those that are active now; agentic: how many of them. marked: the audits' documents by
    sensitivity. panels: outcomes recorded. rules: version of the guard's rules. prompts: digest of
    the labelled prompts.
    """

    bundle: str
    now_ms: int
    decisions: tuple[DecisionFact, ...] = ()
    in_force: Decision | None = None
    review: Review | None = None
    scales: tuple[Scale, ...] = ()
    outsiders: tuple[tuple[str, str], ...] = ()
    grants: int = 0
    agentic: int = 0
    marked: tuple[tuple[str, int], ...] = ()
    panels: int = 0
    rules: str = ""
    prompts: str = ""


def judge(claim: Claim, why: str, look: Look) -> Status:
    """The status: no claim stands against what is seen, and none is taken for seen."""
    if claim is Claim.EXPLAINED:
        return Status.EXPLAINED if why.strip() else Status.MISSING
    if look.shown is Shown.AGAINST:
        return Status.MISSING if claim is Claim.OPEN else Status.CONTRADICTED
    if claim is Claim.PARTLY:
        seen = look.shown is not Shown.NO
        return Status.PARTLY if seen or why.strip() else Status.MISSING
    seen_as = {Shown.YES: Status.ADOPTED, Shown.PARTLY: Status.PARTLY, Shown.NO: Status.MISSING}
    return seen_as[look.shown]
