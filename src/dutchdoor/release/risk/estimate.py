"""An estimate as canonical values: ranges, never one number; and the answers to two questions.

1. How much of the risk comes from opening, and how much from deploying at all?
2. What would a leak change?
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dutchdoor import canonical
from dutchdoor.evidence.openness import Level
from dutchdoor.release.risk.distributions import Array
from dutchdoor.release.risk.leak import ROUTES, downloads_at, leak_chance, people_at, rates, total
from dutchdoor.release.risk.model import (
    LEVELS,
    AmendFigures,
    Assumption,
    Assumptions,
    CustodyFacts,
    Settings,
)
from dutchdoor.release.risk.sensitivity import Bar, tornado
from dutchdoor.release.risk.simulate import Simulation, simulate

__all__ = ["ESTIMATE_FORM", "QUANTILES", "Estimate", "Subject", "estimate", "ranges"]

ESTIMATE_FORM = "dutchdoor-risk-estimate-1"
QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
"""What is told of each result: its middle half, and the range that holds nine draws of ten."""
DIGITS = 4
_NOTHING = 1e-300


@dataclass(frozen=True)
class Subject:
    """What is estimated, and the digests of what the estimate rests on, "" for what is not there.

    audit: of its signed summary. worksheet: of the worksheet of marginal risk; rows: its rows' ids.
    """

    model: str
    bundle: str
    audit: str
    worksheet: str
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """An estimate. body: canonical values. bytes: what its digest is over."""

    body: Mapping[str, Any]
    simulation: Simulation
    settings: Settings

    @property
    def data(self) -> bytes:
        """The bytes of `estimate.json`: the same for the same files, seed and libraries."""
        return canonical.encode(dict(self.body))

    @property
    def digest(self) -> str:
        """What a decision names."""
        return canonical.digest(dict(self.body))


def estimate(
    subject: Subject,
    assumptions: Assumptions,
    facts: CustodyFacts,
    amend: AmendFigures | None = None,
) -> Estimate:
    """Risk and benefit at each level, leaks over time, the two answers, and what moves them."""
    settings = assumptions.settings
    simulation = simulate(assumptions, facts, amend)
    body = {
        "form": ESTIMATE_FORM,
        "model": subject.model,
        "bundle": subject.bundle,
        "rests_on": {
            "assumptions": assumptions.digest,
            "audit": subject.audit,
            "worksheet": subject.worksheet,
            "amend_test": "" if amend is None else amend.digest,
        },
        "settings": _settings(settings),
        "custody": _facts(facts),
        "figures": [_figure(row) for row in simulation.figures.values()],
        "without_model": ranges(simulation.without_model),
        "levels": [_level(simulation, level, settings) for level in LEVELS],
        "opening": _opening(simulation, settings),
        "leak": _leak(simulation, settings),
        "what_if": _what_if(assumptions, facts, simulation),
        "moved_by": _moved_by(simulation, settings),
        "notes": list(_notes(facts, amend, subject, assumptions)),
    }
    return Estimate(body, simulation, settings)


def ranges(values: Array) -> dict[str, str]:
    """A result as it is told: five places of its distribution, as decimal texts."""
    found = np.quantile(values, QUANTILES)
    return {
        f"{round(100 * place):02d}": text(value)
        for place, value in zip(QUANTILES, found, strict=True)
    }


def text(value: float) -> str:
    """A figure in few digits: the last ones would be noise."""
    return f"{float(value) + 0.0:.{DIGITS}g}"


def _settings(settings: Settings) -> dict[str, Any]:
    return {
        "seed": settings.seed,
        "samples": settings.samples,
        "years": settings.years,
        "unit": settings.unit,
        "level": str(settings.level),
        "deployed": str(settings.deployed),
        "tail": text(settings.tail),
    }


def _facts(facts: CustodyFacts) -> list[dict[str, Any]]:
    return [
        {
            "name": field.name,
            "value": getattr(facts, field.name),
            "source": facts.sources.get(field.name, "assumed"),
        }
        for field in dataclasses.fields(facts)
        if field.name != "sources"
    ]


def _figure(row: Assumption) -> dict[str, Any]:
    return {
        "name": row.name,
        "value": row.text,
        "means": row.means,
        "source": row.source,
        "measured": row.measured,
    }


def _level(simulation: Simulation, level: Level, settings: Settings) -> dict[str, Any]:
    found = simulation.levels[level]
    rate = total(found.leaks)
    return {
        "level": str(level),
        "risk": ranges(found.risk),
        "benefit": ranges(found.benefit),
        "net": ranges(found.net),
        "benefit_ahead_percent": text(100 * float(np.mean(found.net > 0))),
        "risk_to_harm_without": ranges(_part(found.risk, simulation.without_model)),
        "leak_chance": [
            {"years": years, "chance": ranges(leak_chance(rate, years))}
            for years in range(1, settings.years + 1)
        ],
        "leaks_a_year": {route: ranges(found.leaks[route]) for route in ROUTES},
    }


def _opening(simulation: Simulation, settings: Settings) -> dict[str, Any]:
    """Each level's risk in three parts, and how much of full openness' risk the asked one spares.

    deploying: what there is at the level `deployed` with nothing leaked. opening: what the level
    adds to that. leaking: what the chance of a leak adds.
    """
    base = simulation.levels[settings.deployed].kept
    rows = []
    for level in LEVELS[LEVELS.index(settings.deployed) :]:
        found = simulation.levels[level]
        rows.append(
            {
                "level": str(level),
                "deploying": ranges(_part(base, found.risk)),
                "opening": ranges(_part(found.kept - base, found.risk)),
                "leaking": ranges(_part(found.risk - found.kept, found.risk)),
            }
        )
    open_risk = simulation.levels[Level.FULLY_OPEN].risk
    asked = simulation.levels[settings.level].risk
    return {"parts": rows, "spared_of_fully_open": ranges(_part(open_risk - asked, open_risk))}


def _leak(simulation: Simulation, settings: Settings) -> dict[str, Any]:
    """At the level that is asked about: times the risk, how far towards fully open, and its odds.

    way_to_open: 1 where a leak leaves nothing of what the level held back from full openness.
    """
    found = simulation.levels[settings.level]
    more = found.leaked - found.kept
    gap = simulation.levels[Level.FULLY_OPEN].kept - found.kept
    chance = leak_chance(total(found.leaks), settings.years)
    return {
        "level": str(settings.level),
        "risk_without": ranges(found.kept),
        "risk_after": ranges(found.leaked),
        "times": ranges(_part(found.leaked, found.kept)),
        "more_a_year": ranges(more),
        "way_to_open": ranges(_part(more, gap)),
        "chance": ranges(chance),
        "expected_more_a_year": ranges(found.risk - found.kept),
    }


def _what_if(
    assumptions: Assumptions, facts: CustodyFacts, simulation: Simulation
) -> list[dict[str, Any]]:
    settings, draws = assumptions.settings, simulation.draws
    people = people_at(settings.level, facts, draws) - facts.people
    downloads = downloads_at(settings.level, draws)
    rows = []
    named = [("as configured", {}), *((row.name, row.changes) for row in assumptions.what_if)]
    for name, changes in named:
        changed = facts.changed(changes)
        by_route = rates(changed, draws, people + changed.people, downloads)
        chance = leak_chance(total(by_route), settings.years)
        rows.append({"name": name, "custody": dict(changes), "chance": ranges(chance)})
    return rows


def _moved_by(simulation: Simulation, settings: Settings) -> list[dict[str, Any]]:
    found = simulation.levels[settings.level]
    open_risk = simulation.levels[Level.FULLY_OPEN].risk
    results: Sequence[tuple[str, Array]] = (
        ("net benefit", found.net),
        ("risk", found.risk),
        ("chance of a leak", leak_chance(total(found.leaks), settings.years)),
        ("risk of fully open", open_risk),
    )
    return [
        {"result": name, "bars": [_bar(bar) for bar in tornado(simulation.draws, values, at)]}
        for name, values in results
        for at in (settings.tail,)
    ]


def _bar(bar: Bar) -> dict[str, str]:
    return {
        "name": bar.name,
        "low": text(bar.low),
        "high": text(bar.high),
        "rank_correlation": f"{bar.correlation + 0.0:.2f}",
    }


def _notes(
    facts: CustodyFacts, amend: AmendFigures | None, subject: Subject, assumptions: Assumptions
) -> Sequence[str]:
    notes = []
    if facts.keys_together:
        notes.append(
            f"{facts.keys_here} custodians' keys lie in one keyring and {facts.threshold} are a "
            "quorum: one theft opens the bundle, whatever the quorum says"
        )
    if not facts.egress_bytes_day:
        notes.append("no limit on what leaves the runtime a day: nothing slows a theft through it")
    if amend is None:
        notes.append(
            "the audit has no amend test: what the guard and the model hold back is assumed; "
            "run 'dutchdoor audit amend'"
        )
    else:
        if not amend.complete:
            notes.append("the amend test was not run to its end")
        notes.append(
            f"the amend test's worst arm is {amend.arm}: its lowest refusals count"
            if amend.arm
            else "the amend test found no safeguard in the model that a modification could undo"
        )
    if not subject.worksheet:
        notes.append("there is no worksheet of marginal risk: uplift rests on nothing written down")
        return notes
    alone = [row.id for row in assumptions.threats if not row.row]
    if alone:
        notes.append(f"threats that rest on no row of the worksheet: {', '.join(alone)}")
    lost = sorted(set(subject.rows) - {row.row for row in assumptions.threats})
    if lost:
        notes.append(f"rows of the worksheet that the estimate leaves out: {', '.join(lost)}")
    return notes


def _part(upper: Array, lower: Array) -> Array:
    """upper / lower; 0 where there is nothing to divide by."""
    found: Array = np.divide(upper, lower, out=np.zeros_like(upper), where=np.abs(lower) > _NOTHING)
    return found
