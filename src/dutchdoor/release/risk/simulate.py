"""Monte Carlo over everything that is assumed: risk, benefit and leaks at each level.

The same draws serve all levels, so that levels are compared under the same beliefs. A higher level
reaches whom the lower one reaches, and more; it never holds back more. So exposure never falls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dutchdoor.evidence.openness import Level
from dutchdoor.release.risk.distributions import Array, uniforms
from dutchdoor.release.risk.leak import (
    downloads_at,
    leaked_part,
    people_at,
    rates,
    total,
)
from dutchdoor.release.risk.model import (
    LEVELS,
    WEIGHTS_LEAVE,
    AmendFigures,
    Assumption,
    Assumptions,
    CustodyFacts,
    Threat,
    ThreatKind,
)

__all__ = ["AtLevel", "Simulation", "draw", "exposures", "simulate", "with_amend"]


@dataclass(frozen=True)
class AtLevel:
    """One level's arrays, one value a draw; risk and benefit are of a year, in the file's unit.

    kept: risk where nothing leaks. leaked: risk where the weights are out from the first day.
    risk: over the years ahead, with the chance of a leak in it. leaks: a year, by route.
    """

    kept: Array
    leaked: Array
    risk: Array
    benefit: Array
    leaks: Mapping[str, Array]

    @property
    def net(self) -> Array:
        """Benefit less risk."""
        return self.benefit - self.risk


@dataclass(frozen=True)
class Simulation:
    """All levels, and what would happen without this model. draws: by figure, for the tornado."""

    figures: Mapping[str, Assumption]
    draws: Mapping[str, Array]
    levels: Mapping[Level, AtLevel]
    without_model: Array


def with_amend(assumptions: Assumptions, amend: AmendFigures | None) -> dict[str, Assumption]:
    """The figures with what the audit measured in place of what was assumed for want of it."""
    figures = dict(assumptions.figures)
    if amend is None:
        return figures
    source = f"measured: amend test of the audit, {amend.digest}"
    measured = {
        "held_back": amend.held_back,
        "refusal": amend.refusal,
        "remaining": amend.remaining,
    }
    for name, distribution in measured.items():
        key = f"safeguards.{name}"
        text = f"{distribution.low:.4g} to {distribution.high:.4g}"
        figures[key] = Assumption(key, text, distribution, figures[key].means, source, True)
    return figures


def draw(figures: Mapping[str, Assumption], seed: int, count: int) -> dict[str, Array]:
    """`count` draws of every figure; the same for the same seed."""
    return {
        name: figure.distribution.quantiles(uniforms(seed, name, count))
        for name, figure in figures.items()
    }


def simulate(
    assumptions: Assumptions, facts: CustodyFacts, amend: AmendFigures | None = None
) -> Simulation:
    """The whole estimate as arrays. amend: None where the audit has no amend test."""
    settings = assumptions.settings
    figures = with_amend(assumptions, amend)
    draws = draw(figures, settings.seed, settings.samples)
    levels = {}
    for level in LEVELS:
        kept, leaked = _risks(assumptions.threats, level, draws)
        people, downloads = people_at(level, facts, draws), downloads_at(level, draws)
        leaks = rates(facts, draws, people, downloads)
        part = leaked_part(total(leaks), settings.years)
        levels[level] = AtLevel(
            kept=kept,
            leaked=leaked,
            risk=kept + part * (leaked - kept),
            benefit=_benefit(assumptions, level, draws),
            leaks=leaks,
        )
    without = _sum(
        [
            draws[f"threats.{row.id}.attempts_a_year"]
            * draws[f"threats.{row.id}.success_without"]
            * draws[f"threats.{row.id}.harm_each"]
            for row in assumptions.threats
        ]
    )
    return Simulation(figures, draws, levels, without)


def exposures(kind: ThreatKind, level: Level, draws: Mapping[str, Array]) -> tuple[Array, Array]:
    """The part of all attempts that the model helps (or of all use that its flaws harm).

    First as decided, then after a leak. Neither falls from a level to a higher one, and the second
    is never below the first.
    """
    flaw = kind is ThreatKind.FLAW
    who = "users" if flaw else "attackers"
    reached = _cumulative(f"reach.{who}", level, draws)
    served, free = _stopped(kind, draws)
    kept = reached * (1 - (free if level in WEIGHTS_LEAVE else served))
    # Who holds a leaked copy is no longer held back by the service.
    holders = draws[f"leak.reach_{who}"]
    return kept, holders * (1 - free) + (1 - holders) * kept


def _stopped(kind: ThreatKind, draws: Mapping[str, Array]) -> tuple[Array, Array]:
    """What is stopped by the service, and what by the weights alone; the second never more."""
    get = draws.__getitem__
    if kind is ThreatKind.FLAW:
        fixed = get("safeguards.flaws_fixed")
        return fixed, fixed * get("safeguards.copies_fixed")
    served = get("safeguards.held_back") * get("safeguards.adaptive")
    modify = get("safeguards.modify")
    alone = (1 - modify) * get("safeguards.refusal") + modify * get("safeguards.remaining")
    # Whoever has the weights can also do all that works against the service.
    return served, np.minimum(alone * get("safeguards.adaptive"), served)


def _risks(
    threats: tuple[Threat, ...], level: Level, draws: Mapping[str, Array]
) -> tuple[Array, Array]:
    kept, leaked = [], []
    for row in threats:
        before, after = exposures(row.kind, level, draws)
        name = f"threats.{row.id}"
        size = draws[f"{name}.attempts_a_year"] * draws[f"{name}.harm_each"]
        more = size * draws[f"{name}.uplift"]
        kept.append(more * before)
        leaked.append(more * after)
    return _sum(kept), _sum(leaked)


def _benefit(assumptions: Assumptions, level: Level, draws: Mapping[str, Array]) -> Array:
    return _sum(
        [
            draws[f"benefits.{row.id}.value_a_year"]
            * draws[f"benefits.{row.id}.not_elsewhere"]
            * _cumulative(f"benefits.{row.id}.reached", level, draws)
            for row in assumptions.benefits
        ]
    )


def _cumulative(name: str, level: Level, draws: Mapping[str, Array]) -> Array:
    """Of everybody, the part reached at `level`: each step adds a part of those still left."""
    steps = LEVELS[: LEVELS.index(level) + 1]
    left = np.ones_like(draws[f"{name}.{steps[0]}"])
    for step in steps:
        left = left * (1 - draws[f"{name}.{step}"])
    return 1 - left


def _sum(rows: list[Array]) -> Array:
    added: Array = np.sum(np.stack(rows), axis=0)
    return added
