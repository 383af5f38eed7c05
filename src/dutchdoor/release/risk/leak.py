"""How likely the weights get out, by where they get out from, under custody as it is configured.

Each route is a rate a year, constant over time; they add up, and the chance of a leak within t
years is 1 - exp(-rate * t). Every rate rises with the people, the copies and the machines that it
hangs on, and falls with the quorum: no term can hide another.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dutchdoor.evidence.openness import Level
from dutchdoor.release.risk.distributions import Array
from dutchdoor.release.risk.model import LEVELS, WEIGHTS_LEAVE, CustodyFacts

__all__ = [
    "ROUTES",
    "at_least",
    "downloads_at",
    "leak_chance",
    "leaked_part",
    "people_at",
    "rates",
    "total",
]

Draws = Mapping[str, Array]

ROUTES: Mapping[str, str] = {
    "operators": "people who run the serving machines",
    "hosts": "a break-in that takes a whole serving machine",
    "keys": "a quorum of custodians, or of their keys",
    "people": "people with access, through the protected runtime",
    "downloads": "people who were given the weights pass them on",
}
"""The routes out, in words."""


def people_at(level: Level, facts: CustodyFacts, draws: Draws) -> Array:
    """People who may call the model at `level`: those who may now, and those who would be added."""
    return facts.people + _up_to(level, draws, "people.added")


def downloads_at(level: Level, draws: Draws) -> Array:
    """People who are handed the weights at `level`; none below downloadable."""
    return _up_to(level, draws, "people.downloads_added")


def rates(facts: CustodyFacts, draws: Draws, people: Array, downloads: Array) -> dict[str, Array]:
    """Leaks a year by each of ROUTES. people, downloads: numbers of people, one a draw."""
    get = draws.__getitem__
    copies = facts.copies + get("leak.copies_unknown")
    got_copy = 1 - (1 - get("leak.copy_reach")) ** copies
    # Part of what befalls custodians befalls all at once: one vendor, one building, one order.
    # Source: the beta-factor model of common causes (Fleming 1974).
    common = get("leak.common_cause") * get("leak.custodian_rate")
    alone = (1 - get("leak.common_cause")) * get("leak.custodian_rate")
    quorum = at_least(facts.threshold, facts.custodians, -np.expm1(-alone))
    keys = got_copy * (common - np.log1p(-np.minimum(quorum, 1 - 1e-12)))
    if facts.keys_together:
        # The sealed bundle lies beside its keys: whoever takes the one has the other.
        keys = keys + get("leak.keyring_rate")
    # Who breaks the runtime only, not the machine, carries the weights out through its limit.
    days = facts.sealed_bytes / facts.egress_bytes_day if facts.egress_bytes_day else 0.0
    unnoticed = np.exp(-days / np.maximum(get("leak.notice_days"), 1e-9))
    return {
        "operators": get("people.operators") * get("leak.operator_rate"),
        "hosts": get("leak.hosts") * get("leak.host_rate"),
        "keys": keys,
        "people": people * get("leak.attack_rate") * unnoticed,
        "downloads": downloads * get("leak.reupload_rate"),
    }


def total(by_route: Mapping[str, Array]) -> Array:
    """Leaks a year by all ways together."""
    added: Array = np.sum(np.stack(list(by_route.values())), axis=0)
    return added


def leak_chance(rate: Array, years: float) -> Array:
    """The chance that the weights are out within `years`."""
    return -np.expm1(-rate * years)


def leaked_part(rate: Array, years: float) -> Array:
    """The part of the next `years` that lies behind a leak, on average."""
    spans = rate * years
    # The closed form loses all digits near nothing; two terms of its series are exact there.
    safe = np.maximum(spans, 1e-4)
    part: Array = np.where(spans < 1e-4, spans / 2 - spans**2 / 6, 1 + np.expm1(-safe) / safe)
    return np.clip(part, 0.0, 1.0)


def at_least(threshold: int, count: int, chance: Array) -> Array:
    """The chance that at least `threshold` of `count` happen, each by itself with `chance`."""
    if threshold <= 0:
        return np.ones_like(chance)
    # Case by case from nothing: adds only what is positive, so it stays exact where it is tiny.
    states = [np.ones_like(chance)] + [np.zeros_like(chance) for _ in range(threshold)]
    for _ in range(count):
        states[threshold] = states[threshold] + states[threshold - 1] * chance
        for hits in range(threshold - 1, 0, -1):
            states[hits] = states[hits] * (1 - chance) + states[hits - 1] * chance
        states[0] = states[0] * (1 - chance)
    return states[threshold]


def _up_to(level: Level, draws: Draws, name: str) -> Array:
    steps = LEVELS[: LEVELS.index(level) + 1]
    if name == "people.downloads_added":
        steps = tuple(step for step in steps if step in WEIGHTS_LEAVE)
    size = next(iter(draws.values())).shape
    added = np.zeros(size)
    for step in steps:
        added = added + draws[f"{name}.{step}"]
    return added
