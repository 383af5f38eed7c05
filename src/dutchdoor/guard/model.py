"""Verdicts: what a layer of the guard says of a text, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["HAZARDS", "HAZARD_WORDS", "Action", "Verdict", "allow", "worst"]

HAZARD_WORDS: Mapping[str, str] = {
    "violent_crimes": "violent crimes",
    "nonviolent_crimes": "crimes without violence",
    "sex_related_crimes": "sexual crimes",
    "child_sexual_exploitation": "the sexual exploitation of children",
    "indiscriminate_weapons_cbrne": "weapons that kill indiscriminately",
    "suicide_and_self_harm": "suicide or self-harm",
    "hate": "hate",
    "defamation": "defamation",
    "privacy": "other people's private data",
    "intellectual_property": "other people's intellectual property",
    "specialized_advice": "advice that takes a professional",
    "sexual_content": "sexual content",
}
"""The hazards of MLCommons AILuminate 1.0, the guard's categories, and each in plain words."""

HAZARDS: tuple[str, ...] = tuple(HAZARD_WORDS)


class Action(StrEnum):
    """What a layer asks for, from mild to severe."""

    ALLOW = "allow"
    FLAG = "flag"
    BLOCK = "block"


@dataclass(frozen=True)
class Verdict:
    """One layer's judgment.

    layer, version: who judged. score, threshold: decimal strings ("0.913"), empty where the layer
    has none. reasons: rule ids or one plain sentence each. categories: hazards.
    """

    layer: str
    version: str
    action: Action
    score: str = ""
    threshold: str = ""
    categories: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    def to_body(self) -> dict[str, Any]:
        """Canonical values, for an entry."""
        return {
            "layer": self.layer,
            "version": self.version,
            "action": str(self.action),
            "score": self.score,
            "threshold": self.threshold,
            "categories": list(self.categories),
            "reasons": list(self.reasons),
        }


_SEVERITY = {Action.ALLOW: 0, Action.FLAG: 1, Action.BLOCK: 2}


def allow(layer: str, version: str) -> Verdict:
    """A verdict of `layer` that found nothing."""
    return Verdict(layer, version, Action.ALLOW)


def worst(verdicts: Iterable[Verdict]) -> Action:
    """The most severe action of `verdicts`; BLOCK where there are none, since nothing judged."""
    actions = [verdict.action for verdict in verdicts]
    return max(actions, key=_SEVERITY.__getitem__) if actions else Action.BLOCK
