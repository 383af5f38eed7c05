"""The words of an estimate: assumptions, what was read of custody, what the audit measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from dutchdoor.evidence.openness import Level
from dutchdoor.release.risk.distributions import Distribution

__all__ = [
    "LEVELS",
    "WEIGHTS_LEAVE",
    "AmendFigures",
    "Assumption",
    "Assumptions",
    "Benefit",
    "CustodyFacts",
    "Settings",
    "Threat",
    "ThreatKind",
    "WhatIf",
]

LEVELS = tuple(Level)
"""The gradient, from closed to open."""
WEIGHTS_LEAVE = frozenset({Level.DOWNLOADABLE, Level.FULLY_OPEN})


class ThreatKind(StrEnum):
    """misuse: somebody means harm. flaw: the model's own faults harm people in ordinary use.

    The two channels of risk of Seger et al. 2023 (arXiv 2311.09227).
    """

    MISUSE = "misuse"
    FLAW = "flaw"


@dataclass(frozen=True)
class Assumption:
    """One figure that somebody believes. means: in plain words. source: or `assumed`.

    measured: it was not believed but read from the audit; its source says where.
    """

    name: str
    text: str
    distribution: Distribution
    means: str
    source: str
    measured: bool = False


@dataclass(frozen=True)
class Settings:
    """How the estimate is made. samples: draws. years: how far it looks ahead.

    unit: what risk and benefit are counted in, a year. level: the one that is asked about.
    deployed: the least open level at which it is deployed at all. tail: part of the draws at each
    end that the tornado compares.
    """

    seed: int
    samples: int
    years: int
    unit: str
    level: Level
    deployed: Level
    tail: float


@dataclass(frozen=True)
class Threat:
    """A way to harm. row: of the worksheet of marginal risk, "" for none."""

    id: str
    kind: ThreatKind
    title: str
    row: str


@dataclass(frozen=True)
class Benefit:
    """A good that people have of the model."""

    id: str
    title: str


@dataclass(frozen=True)
class CustodyFacts:
    """Custody as it is configured. sources: for each field, where it was read, or `assumed`.

    keys_here: custodians of the bundle whose private keys lie in this keyring; with as many as
    `threshold` there, whoever steals the keyring has a quorum. people: who may call now.
    egress_bytes_day: that may leave the runtime a day; 0 for no limit. copies: of the sealed
    bundle, as far as they are known. sealed_bytes: what a thief must carry out.
    """

    threshold: int
    custodians: int
    keys_here: int
    people: int
    copies: int
    egress_bytes_day: int
    sealed_bytes: int
    sources: Mapping[str, str]

    @property
    def keys_together(self) -> bool:
        """Whether one theft takes a quorum."""
        return self.keys_here >= self.threshold

    def changed(self, changes: Mapping[str, int]) -> CustodyFacts:
        """The same with some counts changed, by their names."""
        counts: dict[str, Any] = dict(changes)
        return replace(self, **counts)


@dataclass(frozen=True)
class WhatIf:
    """Custody changed in some fields of CustodyFacts, to see what a leak's chance does then."""

    name: str
    changes: Mapping[str, int]


@dataclass(frozen=True)
class Assumptions:
    """Everything that a person assumes, from one file. digest: of its bytes."""

    settings: Settings
    threats: tuple[Threat, ...]
    benefits: tuple[Benefit, ...]
    figures: Mapping[str, Assumption]
    what_if: tuple[WhatIf, ...]
    digest: str


@dataclass(frozen=True)
class AmendFigures:
    """What the audit's amend test says, as shares of harmful requests.

    held_back: by the service, guard and refusals together. refusal: by the unmodified model alone.
    remaining: by the model after the arm that undid most. arm: its name, "" where no arm ran
    because there was nothing to unlock. digest: of amend.json.
    """

    held_back: Distribution
    refusal: Distribution
    remaining: Distribution
    arm: str
    digest: str
    complete: bool
