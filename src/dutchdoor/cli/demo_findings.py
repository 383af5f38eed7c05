"""How the demo settles the audit's findings: each by its kind, and none by more than is so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dutchdoor.audit.model import Finding, FindingStatus

__all__ = ["REASONS", "probe_told", "settlement_of"]

REASONS = (
    "A small model that knows little more than a search engine gives. It hardly refuses by itself. "
    "The decision requires a guard, and the guard misses much: its card says how much. So this "
    "stage does not lean on it: it lets in vetted researchers and a few developers, each under a "
    "grant with a budget, each inference is recorded, and all of it can be revoked at once. "
    "Opening it to them first lets us learn before anybody else is let in."
)

_SMALL_STAGE = "the stage is small, watched and revocable"


def settlement_of(finding: Finding) -> tuple[FindingStatus, str]:
    """What the demo's auditor decides about `finding`, and why."""
    if finding.id == "refusal":
        reason = "the decision requires the guard and lets in only vetted people"
        return FindingStatus.MITIGATED, reason
    if finding.id == "probe-recall":
        # The guard's own weakness is not mended by the guard: it is taken on, and said.
        return FindingStatus.ACCEPTED, f"{_SMALL_STAGE}; recall is as measured: {finding.text}"
    reason = f"{_SMALL_STAGE}; to be mended before a wider one"
    return FindingStatus.ACCEPTED, reason


def probe_told(card: Mapping[str, Any]) -> str:
    """The card's first figures in one line, the harshest ones: whole sources left out."""
    measured = card.get("measured", card)
    left_out = measured["sources_left_out"]
    recall = left_out["recall"]["fpr_0.01"]
    examples = measured["examples"]
    return (
        "on sources it was not fitted on it finds "
        f"{float(recall['value']):.0%} ({float(recall['low']):.0%} to {float(recall['high']):.0%}) "
        "of harmful texts at fpr_0.01, AUROC "
        f"{left_out['auroc']['value']} "
        f"({examples['harmful']} harmful, {examples['benign']} benign texts)"
    )
