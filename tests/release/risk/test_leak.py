"""Leaks: more hands never make them less likely, a quorum never more."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.evidence.openness import Level
from dutchdoor.release.risk.distributions import Array
from dutchdoor.release.risk.leak import (
    ROUTES,
    at_least,
    downloads_at,
    leak_chance,
    leaked_part,
    people_at,
    rates,
    total,
)
from dutchdoor.release.risk.model import LEVELS, CustodyFacts
from dutchdoor.release.risk.simulate import draw
from tests.release.risk.parts import FACTS, assumed

DRAWS = draw(assumed(200).figures, 1, 200)
COUNTS = st.integers(0, 10**7)


def chance(facts: CustodyFacts, level: Level = Level.CLOUD_API, years: float = 5) -> Array:
    people, downloads = people_at(level, facts, DRAWS), downloads_at(level, DRAWS)
    return leak_chance(total(rates(facts, DRAWS, people, downloads)), years)


@given(st.sampled_from(LEVELS), COUNTS, COUNTS, st.sampled_from([0, 10**6, 10**12]))
@settings(max_examples=40, deadline=None)
def test_more_people_with_access_never_lower_the_chance_of_a_leak(
    level: Level, people: int, more: int, egress: int
) -> None:
    few = replace(FACTS, people=people, egress_bytes_day=egress)
    many = replace(few, people=people + more)
    assert (chance(many, level) >= chance(few, level)).all()


@given(st.integers(1, 8), st.integers(0, 8), st.integers(0, 16), st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_custody_moves_the_chance_the_way_it_must(
    threshold: int, spare: int, keys_here: int, copies: int
) -> None:
    custodians = threshold + spare
    facts = replace(
        FACTS,
        threshold=threshold,
        custodians=custodians,
        keys_here=min(keys_here, custodians),
        copies=copies,
    )
    now = chance(facts)
    assert (chance(replace(facts, copies=copies + 1)) >= now).all(), "one more copy"
    assert (chance(replace(facts, custodians=custodians + 1)) >= now).all(), "one more custodian"
    assert (chance(replace(facts, keys_here=custodians)) >= now).all(), "the keys together"
    stricter = replace(facts, threshold=threshold + 1, custodians=custodians + 1)
    same = replace(facts, threshold=threshold, custodians=custodians + 1)
    assert (chance(stricter) <= chance(same)).all(), "a larger quorum"
    assert (now >= 0).all()
    assert (now <= 1).all()


@given(st.integers(1, 10**12), st.integers(1, 10**12))
@settings(max_examples=40, deadline=None)
def test_a_tighter_limit_on_egress_never_raises_the_chance(first: int, second: int) -> None:
    tight, loose = sorted((first, second))
    limited = chance(replace(FACTS, egress_bytes_day=tight))
    assert (limited <= chance(replace(FACTS, egress_bytes_day=loose))).all()
    assert (limited <= chance(replace(FACTS, egress_bytes_day=0))).all()


def test_a_higher_level_never_lowers_the_chance_and_time_does_not_either() -> None:
    for lower, higher in itertools.pairwise(LEVELS):
        assert (chance(FACTS, higher) >= chance(FACTS, lower)).all()
    assert (chance(FACTS, years=3) <= chance(FACTS, years=4)).all()
    assert (chance(FACTS, years=0) == 0).all()


@pytest.mark.parametrize(("threshold", "count", "p"), [(2, 3, 0.1), (1, 1, 0.5), (5, 8, 0.01)])
def test_a_quorum_falls_as_the_binomial_says(threshold: int, count: int, p: float) -> None:
    exact = sum(
        math.comb(count, hits) * p**hits * (1 - p) ** (count - hits)
        for hits in range(threshold, count + 1)
    )
    assert at_least(threshold, count, np.array([p]))[0] == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("rate", [1e-9, 1e-5, 0.00002, 0.5, 40.0])
def test_the_time_behind_a_leak_is_the_integral_of_its_chance(rate: float) -> None:
    years = np.linspace(0, 5, 20_001)
    exact = float(np.trapezoid(-np.expm1(-rate * years), years)) / 5
    assert leaked_part(np.array([rate]), 5)[0] == pytest.approx(exact, rel=1e-5)


def test_every_route_out_is_named_and_keys_that_lie_together_count_as_one_theft() -> None:
    together = replace(FACTS, keys_here=2)
    people, downloads = people_at(Level.HOSTED, FACTS, DRAWS), downloads_at(Level.HOSTED, DRAWS)
    apart_rates = rates(FACTS, DRAWS, people, downloads)
    assert set(apart_rates) == set(ROUTES)
    joined = rates(together, DRAWS, people, downloads)["keys"]
    assert np.allclose(joined - apart_rates["keys"], DRAWS["leak.keyring_rate"])
    assert (apart_rates["downloads"] == 0).all(), "nobody is handed weights at a served level"
