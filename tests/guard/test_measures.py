"""Figures of a card are what they say, on scores small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.guard.measures import auroc, recall, share, threshold_at
from dutchdoor.guard.ridge import Ridge

scores = st.lists(st.integers(-20, 20), min_size=1, max_size=30).map(
    lambda values: np.array(values, dtype=np.float64)
)


@given(scores, scores)
def test_auroc_counts_pairs(harmful: np.ndarray, benign: np.ndarray) -> None:
    pairs = [(a > b) + (a == b) / 2 for a in harmful for b in benign]
    measured = auroc(harmful, benign)
    assert measured.value == pytest.approx(sum(pairs) / len(pairs))
    assert 0.0 <= measured.low <= measured.high <= 1.0


@given(scores, st.sampled_from([0.001, 0.01, 0.05, 0.3, 1.0]))
def test_a_threshold_never_lets_more_benign_through_than_it_says(
    benign: np.ndarray, rate: float
) -> None:
    distinct = np.unique(benign)
    over = (distinct >= threshold_at(distinct, rate)).sum()
    assert over <= rate * len(distinct) + 1e-9 or len(distinct) == 1


def test_recall_is_taken_at_the_threshold_of_the_rate() -> None:
    benign = np.arange(100, dtype=np.float64)
    measured = recall(np.array([50.0, 98.5, 98.6, 120.0]), benign, 0.01)
    assert measured.value == 0.75
    assert measured.low <= measured.value <= measured.high


def test_a_share_of_few_has_a_wide_interval() -> None:
    measured = share(np.array([1.0, 1.0, 1.0]), 0.5)
    assert measured.value == 1.0
    assert measured.low < 0.5


def test_empty_classes_prove_nothing() -> None:
    none = np.zeros(0)
    assert auroc(none, none).to_body() == {"value": "0.5000", "low": "0.0000", "high": "1.0000"}
    assert recall(none, np.ones(3), 0.01).value == 0.0
    assert share(none, 0.0).high == 1.0


def test_leaving_examples_out_equals_fitting_without_them() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 90))
    harmful = np.arange(60) % 3 == 0
    features[harmful] += 0.4
    ridge = Ridge(features, harmful, 0.4)
    group = np.array([3, 7, 8, 30, 59])
    rest = np.setdiff1d(np.arange(60), group)
    # By hand, in the space of features, with the standardisation and penalty of the whole.
    data = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    constant = np.sqrt(np.trace(data @ data.T) / 60)
    wide = np.column_stack([data, np.full(60, constant)])
    penalty = 60 * 0.4 / 0.6 * np.eye(91)
    target = np.where(harmful[rest], 1.0, -1.0)
    weights = np.linalg.solve(wide[rest].T @ wide[rest] + penalty, wide[rest].T @ target)
    assert ridge.without(group).score(features[group]) == pytest.approx(wide[group] @ weights)
