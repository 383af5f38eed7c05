"""The chart of risks: severity first, few samples never make a risk unlikely."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.audit.documents.reading import Impact, Trial
from dutchdoor.audit.documents.risks import Likelihood, Rating, chart, likelihood_of, rating_of
from dutchdoor.audit.model import Severity
from dutchdoor.errors import Invalid

severities = st.sampled_from(list(Severity))
likelihoods = st.sampled_from([Likelihood.UNLIKELY, Likelihood.POSSIBLE, Likelihood.LIKELY])
WORSE = {Rating.LOW: 0, Rating.MID: 1, Rating.HIGH: 2}


def impact(severity: Severity, name: str = "I1", *, is_harm: bool = True) -> Impact:
    return Impact(name, "people", "hurt", is_harm, severity, "safety", "malicious-use")


def trial(tried: int, failed: int, name: str = "I1") -> Trial:
    return Trial("X", "F1", name, "safety", "malicious-use", tried, failed)


@given(severities, severities, likelihoods, likelihoods)
def test_a_worse_harm_or_a_likelier_one_is_never_rated_lower(
    one: Severity, other: Severity, first: Likelihood, second: Likelihood
) -> None:
    order, chance = list(Severity), [Likelihood.UNLIKELY, Likelihood.POSSIBLE, Likelihood.LIKELY]
    if order.index(one) <= order.index(other) and chance.index(first) <= chance.index(second):
        assert WORSE[rating_of(one, first)] <= WORSE[rating_of(other, second)]


def test_highly_likely_and_dangerous_is_the_top_priority() -> None:
    assert rating_of(Severity.CRITICAL, Likelihood.LIKELY) is Rating.HIGH
    assert rating_of(Severity.LOW, Likelihood.UNLIKELY) is Rating.LOW


@given(st.integers(1, 5_000), st.data())
def test_more_failures_never_make_a_harm_less_likely(tried: int, data: st.DataObject) -> None:
    failed = data.draw(st.integers(0, tried - 1))
    chance = [Likelihood.UNLIKELY, Likelihood.POSSIBLE, Likelihood.LIKELY]
    now, then = likelihood_of(tried, failed), likelihood_of(tried, failed + 1)
    assert chance.index(now) <= chance.index(then)


def test_few_samples_without_a_failure_do_not_make_a_harm_unlikely() -> None:
    assert likelihood_of(16, 0) is Likelihood.LIKELY
    assert likelihood_of(40, 0) is Likelihood.POSSIBLE
    assert likelihood_of(1_000, 0) is Likelihood.UNLIKELY


def test_what_was_not_tested_counts_as_likely() -> None:
    (risk,) = chart([impact(Severity.HIGH)], [])
    assert (risk.likelihood, risk.rating) == (Likelihood.UNTESTED, Rating.HIGH)
    (risk,) = chart([impact(Severity.HIGH)], [trial(5_000, 0), trial(0, 0)])
    assert risk.likelihood is Likelihood.UNTESTED


def test_many_harmless_trials_do_not_thin_out_the_test_that_failed() -> None:
    (risk,) = chart([impact(Severity.HIGH)], [trial(100_000, 0), trial(10, 9)])
    assert (risk.tried, risk.failed, risk.rating) == (10, 9, Rating.HIGH)


def test_the_chart_begins_with_the_worst_and_leaves_benefits_out() -> None:
    rows = [
        impact(Severity.LOW, "I1"),
        impact(Severity.CRITICAL, "I2"),
        impact(Severity.CRITICAL, "I3", is_harm=False),
    ]
    made = chart(rows, [trial(5_000, 0, "I1"), trial(5_000, 0, "I2")])
    assert [risk.id for risk in made] == ["I2", "I1"]


def test_more_failures_than_trials_are_refused() -> None:
    with pytest.raises(Invalid):
        likelihood_of(3, 4)
