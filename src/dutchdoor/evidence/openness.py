"""How open, and for whom: the words that decisions, stages and grants share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Audience", "Depth", "Level"]


class Level(StrEnum):
    """A decision's place on the gradient. Source: Solaiman 2023 (arXiv 2302.04844)."""

    FULLY_CLOSED = "fully_closed"
    GRADUAL_STAGED = "gradual_staged"
    HOSTED = "hosted"
    CLOUD_API = "cloud_api"
    DOWNLOADABLE = "downloadable"
    FULLY_OPEN = "fully_open"


class Depth(StrEnum):
    """A kind of access, from the shallowest to the deepest."""

    SAMPLING = "sampling"
    DECODING_CONTROL = "decoding_control"
    LOGPROBS = "logprobs"
    LOGITS = "logits"
    ACTIVATIONS = "activations"
    INTERVENTIONS = "interventions"
    GRADIENTS = "gradients"
    FINE_TUNING = "fine_tuning"
    AUDIT = "audit"
    """What the internal audit needs besides: fitting the guard's probe, an observing guard."""


@dataclass(frozen=True)
class Audience:
    """Whom the decision lets in, and how deep.

    name: the audience of a person (`researcher`). people: where not empty, these alone.
    """

    name: str
    depths: tuple[Depth, ...]
    people: tuple[str, ...] = ()

    def within(self, other: Audience) -> bool:
        """Whether this row opens nothing that `other` does not open."""
        people = not other.people or (bool(self.people) and set(self.people) <= set(other.people))
        return self.name == other.name and set(self.depths) <= set(other.depths) and people
