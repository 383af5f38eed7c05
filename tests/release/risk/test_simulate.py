"""Risk rises with openness, by construction, whatever is assumed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dutchdoor.evidence.openness import Level
from dutchdoor.release.risk.model import LEVELS, AmendFigures, ThreatKind
from dutchdoor.release.risk.sensitivity import rank_correlation, tornado
from dutchdoor.release.risk.simulate import draw, exposures, simulate, with_amend
from tests.release.risk.parts import AMEND, FACTS, assumed

SHARE_NAMES = sorted(
    name for name in assumed().figures if name.startswith(("reach.", "safeguards.", "leak.reach"))
)


@given(st.data(), st.sampled_from([None, AMEND]))
@settings(max_examples=30, deadline=None)
def test_a_higher_level_never_lowers_exposure_risk_or_benefit(
    data: st.DataObject, amend: AmendFigures | None
) -> None:
    changes = {
        name.replace(".", "__"): str(data.draw(st.floats(0, 1), label=name))
        for name in data.draw(st.lists(st.sampled_from(SHARE_NAMES), max_size=8, unique=True))
    }
    assumptions = assumed(200, **changes)
    draws = draw(with_amend(assumptions, amend), 1, 200)
    slack = 1e-9
    for kind in ThreatKind:
        for lower, higher in itertools.pairwise(LEVELS):
            low, high = exposures(kind, lower, draws), exposures(kind, higher, draws)
            assert (high[0] >= low[0] - slack).all()
            assert (high[1] >= low[1] - slack).all()
            assert (low[1] >= low[0] - slack).all(), "a leak never lowers exposure"
    found = simulate(assumptions, FACTS, amend)
    for lower, higher in itertools.pairwise(LEVELS):
        under, over = found.levels[lower], found.levels[higher]
        assert (over.risk >= under.risk * (1 - slack) - slack).all()
        assert (over.benefit >= under.benefit * (1 - slack) - slack).all()
        assert (under.risk >= under.kept * (1 - slack)).all()
        assert (under.risk <= under.leaked * (1 + slack) + slack).all()


def test_where_all_is_certain_the_result_is_the_product_that_a_hand_computes() -> None:
    names = {name.replace(".", "__"): "0" for name in assumed().figures}
    names |= {
        "threats__fraud__attempts_a_year": "1000",
        "threats__fraud__uplift": "0.01",
        "threats__fraud__success_without": "0.1",
        "threats__fraud__harm_each": "3",
        "reach__attackers__hosted": "0.5",
        "safeguards__held_back": "0.8",
        "safeguards__adaptive": "0.5",
        "leak__reach_attackers": "0.25",
    }
    found = simulate(assumed(200, **names), FACTS)
    hosted = found.levels[Level.HOSTED]
    assert hosted.kept == pytest.approx(1000 * 0.01 * 3 * 0.5 * (1 - 0.4))
    assert hosted.leaked == pytest.approx(30 * (0.25 * 1 + 0.75 * 0.5 * 0.6))
    assert hosted.risk == pytest.approx(hosted.kept), "nothing leaks at a rate of nothing"
    assert found.levels[Level.FULLY_CLOSED].risk == pytest.approx(0)
    assert found.without_model == pytest.approx(300)


def test_what_the_audit_measured_takes_the_place_of_what_was_assumed() -> None:
    figures = with_amend(assumed(), AMEND)
    taken = figures["safeguards.remaining"]
    assert taken.measured
    assert AMEND.digest in taken.source
    assert figures["safeguards.adaptive"] == assumed().figures["safeguards.adaptive"]
    weak = replace(AMEND, remaining=AMEND.held_back)
    strong = simulate(assumed(), FACTS, weak).levels[Level.DOWNLOADABLE].risk
    undone = simulate(assumed(), FACTS, AMEND).levels[Level.DOWNLOADABLE].risk
    assert (undone >= strong).all(), "what modification undoes is risk where weights leave"


def test_one_more_assumption_moves_no_other_draw() -> None:
    figures = assumed().figures
    name = "leak.host_rate"
    without = {key: figure for key, figure in figures.items() if key != name}
    first, second = draw(figures, 5, 300), draw(without, 5, 300)
    assert all(np.array_equal(first[key], second[key]) for key in second)


def test_the_tornado_puts_what_moves_most_first_and_leaves_out_what_is_certain() -> None:
    draws = draw(assumed(2000).figures, 1, 2000)
    big, small = draws["leak.host_rate"], draws["leak.operator_rate"]
    result = 100 * big - small
    bars = tornado(draws, result, 0.1)
    assert bars[0].name == "leak.host_rate"
    assert bars[0].high > bars[0].low
    assert bars[0].correlation > 0.95
    assert "people.operators" not in {bar.name for bar in bars}
    assert "benefits.use.value_a_year" not in {bar.name for bar in bars}, "chance moves nothing"
    assert rank_correlation(big, -(big**3)) == pytest.approx(-1)
    assert rank_correlation(np.ones(9), np.arange(9.0)) == 0
