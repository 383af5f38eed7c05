"""The counting behind the flags, on small random last layers."""

from __future__ import annotations

import numpy as np

V, H, K = 48, 8, 8


def log_probabilities(weights: np.ndarray, state: np.ndarray) -> np.ndarray:
    logits = weights @ state
    top = logits.max()
    scores: np.ndarray = logits - top - np.log(np.exp(logits - top).sum())
    return scores


def solved(weights: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last layer from the k most likely log-probabilities at known states; and which of its
    rows were among the k at more than h of them."""
    rows, sides = [], []
    seen = np.zeros(V)
    for state in states:
        scores = log_probabilities(weights, state)
        top = np.argsort(scores)[-K:]
        seen[top] += 1
        for token in top[1:]:
            row = np.zeros((V, H))
            row[token], row[top[0]] = state, -state
            rows.append(row.ravel())
            sides.append(scores[token] - scores[top[0]])
    found = np.linalg.lstsq(np.array(rows), np.array(sides), rcond=None)[0].reshape(V, H)
    return found, seen > H


def error(found: np.ndarray, weights: np.ndarray) -> float:
    """Up to what no log-probability shows: a vector added to all rows."""
    true, centred = weights - weights.mean(axis=0), found - found.mean(axis=0)
    return float(np.linalg.norm(centred - true) / np.linalg.norm(true))


def test_chosen_states_and_free_scores_give_the_last_layer_away() -> None:
    random = np.random.default_rng(0)
    weights = random.normal(size=(V, H))
    found, often = solved(weights, random.normal(size=(8 * V * H // K, H)))
    assert often.mean() > 0.9
    assert error(found[often], weights[often]) < 1e-6


def test_states_that_may_be_read_only_so_often_leave_the_rest_unknown() -> None:
    random = np.random.default_rng(1)
    weights = random.normal(size=(V, H))
    # Any number of prompts, and of all their states only those within a quarter of h were read.
    read = random.normal(size=(4 * V * H // K, H // 4)) @ random.normal(size=(H // 4, H))
    found, often = solved(weights, read)
    assert error(found[often], weights[often]) > 0.5


def test_pairs_before_and_after_the_last_layer_give_it_exactly_where_they_were_seen() -> None:
    random = np.random.default_rng(2)
    weights = random.normal(size=(V, H))
    for pairs in (H // 4, H):
        states = random.normal(size=(pairs, H))
        found = np.linalg.lstsq(states, states @ weights.T, rcond=None)[0].T
        seen = random.normal(size=(3, pairs)) @ states
        assert np.allclose(seen @ found.T, seen @ weights.T)
        assert bool(np.allclose(found, weights)) is (pairs == H)


def test_the_gradient_of_a_logit_is_a_row_of_the_last_layer() -> None:
    random = np.random.default_rng(3)
    weights, state = random.normal(size=(V, H)), random.normal(size=H)
    step = 1e-6 * np.eye(H)
    gradient = [(weights[5] @ (state + d) - weights[5] @ (state - d)) / 2e-6 for d in step]
    assert np.allclose(gradient, weights[5], atol=1e-6)
