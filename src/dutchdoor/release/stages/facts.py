"""What gates look at, gathered at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dutchdoor.audit.model import Finding
from dutchdoor.evidence.stages import Placed
from dutchdoor.evidence.terms import StageTerms

__all__ = ["Audited", "Facts", "Vote", "next_stage"]


@dataclass(frozen=True)
class Audited:
    """The newest completed audit of the bundle. index: of its entry.

    findings, card: None where its summary, or the card of its probe, is not at hand or is not the
    one that was signed.
    """

    summary: str
    index: int
    findings: tuple[Finding, ...] | None
    card: Mapping[str, Any] | None
    card_digest: str


@dataclass(frozen=True)
class Vote:
    """A panel that was closed on this bundle. index: of the entry that closed it."""

    panel: str
    question: str
    outcome: str
    quorum_met: bool
    index: int


@dataclass(frozen=True)
class Facts:
    """Everything that can be known at `now_ms` about the stage in which a decision stands.

    stage: its name, "" where nobody is let in. since_index, since_ms: of the entry with which it
    began. current: whether no due of the audit has come, None where it cannot be told. current_by:
    what shows it. approvals: of the proposal for the next stage, None where there is none.
    """

    now_ms: int
    stage: str
    since_index: int
    since_ms: int
    audit: Audited | None
    incidents: Sequence[Placed]
    votes: Sequence[Vote]
    current: bool | None
    current_by: tuple[str, ...]
    approvals: int | None = None


def next_stage(plan: Sequence[StageTerms], stage: str) -> StageTerms | None:
    """The stage after `stage` in `plan`, the first one after nobody; None after the last."""
    names = [row.name for row in plan]
    place = names.index(stage) + 1 if stage in names else 0
    return plan[place] if place < len(plan) else None
