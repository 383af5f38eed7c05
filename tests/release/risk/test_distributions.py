"""Distributions hold what they say, and Monte Carlo finds what algebra knows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.errors import Invalid
from dutchdoor.release.risk.distributions import (
    Distribution,
    of_interval,
    parse_distribution,
    uniforms,
)

Z = 1.6448536269514722
COUNT = 20_000
PUBLISHED = ["0.443928693976", "0.770958400564", "0.652301297023", "0.246903146336"]


@pytest.mark.parametrize(
    ("text", "share"),
    [("200 to 5000", False), ("0.01 to 0.4", True), ("1e-6 to 1e-3", True)],
)
def test_a_range_holds_nine_draws_of_ten(text: str, share: bool) -> None:
    found = parse_distribution(text, share=share)
    values = found.quantiles(uniforms(1, "x", COUNT))
    low, high = np.quantile(values, (0.05, 0.95))
    assert low == pytest.approx(found.low, rel=0.01)
    assert high == pytest.approx(found.high, rel=0.01)
    assert not share or (values.min() > 0 and values.max() < 1)


def test_a_product_of_lognormals_is_the_lognormal_that_algebra_says() -> None:
    first, second = (parse_distribution(text, share=False) for text in ("1 to 10", "20 to 50"))
    product = first.quantiles(uniforms(7, "a", COUNT)) * second.quantiles(uniforms(7, "b", COUNT))
    means = [(math.log(row.low) + math.log(row.high)) / 2 for row in (first, second)]
    deviations = [(math.log(row.high) - math.log(row.low)) / (2 * Z) for row in (first, second)]
    deviation = math.hypot(*deviations)
    for place, z in ((0.05, -Z), (0.5, 0.0), (0.95, Z)):
        exact = math.exp(sum(means) + z * deviation)
        density = math.exp(-z * z / 2) / (math.sqrt(2 * math.pi) * deviation * exact)
        error = math.sqrt(place * (1 - place) / COUNT) / density
        assert abs(float(np.quantile(product, place)) - exact) < 4 * error


def test_a_mean_is_within_the_error_of_its_draws() -> None:
    values = parse_distribution("2 to 3", share=False).quantiles(uniforms(3, "m", COUNT))
    mean, spread = (math.log(2) + math.log(3)) / 2, (math.log(3) - math.log(2)) / (2 * Z)
    exact = math.exp(mean + spread**2 / 2)
    assert abs(values.mean() - exact) < 4 * values.std() / math.sqrt(COUNT)


def test_a_share_that_was_counted_has_jeffreys_mean() -> None:
    values = parse_distribution("beta 4 of 16", share=True).quantiles(uniforms(1, "b", COUNT))
    assert values.mean() == pytest.approx(4.5 / 17, abs=0.001)


def test_each_figure_has_a_stream_of_its_own_and_its_own_alone() -> None:
    assert np.array_equal(uniforms(1, "a", 500), uniforms(1, "a", 500))
    assert not np.array_equal(uniforms(1, "a", 500), uniforms(2, "a", 500))
    correlation = np.corrcoef(uniforms(1, "a", COUNT), uniforms(1, "b", COUNT))[0, 1]
    assert abs(correlation) < 0.03
    cells = np.floor(uniforms(1, "a", 500) * 500)
    assert len(set(cells)) == 500, "one draw in each stratum"


def test_the_stream_is_the_one_it_was_when_it_was_published() -> None:
    assert [f"{place:.12f}" for place in uniforms(1, "a", 4)] == PUBLISHED


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_measured_interval_never_proves_impossibility(a: float, b: float, c: float) -> None:
    low, mean, high = sorted((a, b, c))
    found = of_interval(mean, low, high)
    values = found.quantiles(uniforms(1, "x", 50))
    assert values.min() >= 0
    assert values.max() <= 1


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", False),
        ("many", False),
        ("5 to 2", False),
        ("2 to 2", False),
        ("0 to 5", False),
        ("-1 to 5", False),
        ("1e300", False),
        ("nan", False),
        ("inf", False),
        ("0.5 to 1", True),
        ("1.5", True),
        ("uniform 0.5 to 2", True),
        ("beta 5 of 4", True),
        ("beta 0 of 0", True),
        ("beta 1 of 4", False),
        ("0x10", False),
    ],
)
def test_what_is_no_figure_is_refused_with_the_forms_there_are(text: str, share: bool) -> None:
    with pytest.raises(Invalid) as caught:
        parse_distribution(text, share=share)
    assert caught.value.code == "bad_distribution"
    assert "200 to 5000" in caught.value.hint


@given(st.text(max_size=30), st.booleans())
def test_any_text_is_a_distribution_or_our_error(text: str, share: bool) -> None:
    try:
        found = parse_distribution(text, share=share)
    except Invalid:
        return
    assert isinstance(found, Distribution)
    assert np.isfinite(found.quantiles(uniforms(1, "x", 20))).all()
