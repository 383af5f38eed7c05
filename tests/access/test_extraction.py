"""The accountant's arithmetic, and the mathematics it stands on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.access.extraction import Asked, Cost, cost_of, pool_text, row_cost, vectors_worth
from dutchdoor.errors import Invalid

H = 576


@pytest.mark.parametrize(
    ("asked", "cost"),
    [
        (Asked(), Cost()),
        (Asked(taps=1, positions=1), Cost(1)),
        (Asked(taps=3, positions=8), Cost(24)),
        (Asked(rows=500, row_numbers=1), Cost(0, 500)),
        (Asked(rows=500, row_numbers=21), Cost(0, 10_500)),
        (Asked(rows=7, row_numbers=H - 1), Cost(0, 7 * (H - 1))),
        (Asked(rows=7, row_numbers=H), Cost(7)),
        (Asked(rows=7, row_numbers=49_152), Cost(7)),
        (Asked(draws=65), Cost()),
        (Asked(draws=65, biases=1), Cost(0, 65)),
        (Asked(draws=65, biases=300), Cost(0, 65 * 9)),
        (Asked(draws=513, penalised=True), Cost()),
        (Asked(draws=600, penalised=True), Cost(0, 25 * 10)),
        (Asked(draws=10, biases=3, penalised=True), Cost(0, 10 * 4)),
        (Asked(taps=2, positions=3, rows=10, row_numbers=2, draws=11, biases=1), Cost(6, 31)),
    ],
)
def test_what_each_request_costs(asked: Asked, cost: Cost) -> None:
    assert cost_of(asked, hidden_size=H) == cost


@pytest.mark.parametrize(
    "asked",
    [Asked(taps=-1), Asked(positions=-1), Asked(rows=-1), Asked(row_numbers=-1), Asked(draws=-1)],
)
def test_what_cannot_be_counted_is_not_released(asked: Asked) -> None:
    with pytest.raises(Invalid):
        cost_of(asked, hidden_size=H)


@pytest.mark.parametrize("hidden_size", [0, -1])
def test_without_a_hidden_size_nothing_is_released(hidden_size: int) -> None:
    with pytest.raises(Invalid):
        cost_of(Asked(), hidden_size=hidden_size)


@given(
    st.integers(0, 4096), st.integers(1, 700), st.integers(1, 600), st.lists(st.integers(1, 700))
)
def test_a_row_put_together_from_many_requests_is_never_cheaper(
    rows: int, each: int, hidden: int, cuts: list[int]
) -> None:
    """However a row is cut into requests: what was paid for it is at least its own price."""
    whole = row_cost(sum(cuts), hidden_size=hidden)
    parts = Cost()
    for cut in cuts:
        parts += row_cost(cut, hidden_size=hidden)
    assert _worth(parts, hidden) >= min(_worth(whole, hidden), 1)
    first = rows // 2
    asked = Asked(rows=rows, row_numbers=each)
    pieces = [Asked(rows=first, row_numbers=each), Asked(rows=rows - first, row_numbers=each)]
    total = sum((cost_of(piece, hidden_size=hidden) for piece in pieces), Cost())
    assert _worth(total, hidden) == _worth(cost_of(asked, hidden_size=hidden), hidden)


@given(st.lists(st.integers(1, 3000), max_size=200), st.integers(2, 64))
def test_the_pool_never_holds_more_rows_with_h_numbers_than_vectors(
    rows: list[int], hidden: int
) -> None:
    """The argument itself: B vectors pay for at most B rows that say anything of the weights."""
    paid = sum((row_cost(count, hidden_size=hidden) for count in rows), Cost())
    telling = sum(count >= hidden for count in rows)
    assert telling <= _worth(paid, hidden)


def test_full_rows_give_the_last_layer_away_and_a_quarter_of_them_does_not() -> None:
    """Why rows are counted, and why a decision stays far below h: the attack itself, small."""
    h, vocabulary = 32, 200
    generator = np.random.default_rng(7)
    weights = generator.normal(size=(vocabulary, h))
    rows = weights @ generator.normal(size=(h, 2 * h))

    def error(count: int) -> float:
        basis = np.linalg.svd(rows[:, :count], full_matrices=False)[0][:, : min(count, h)]
        # The best the attacker can do: the part of the weights inside what they have seen.
        missing = weights - basis @ (basis.T @ weights)
        return float(np.linalg.norm(missing) / np.linalg.norm(weights))

    assert error(h + 1) < 1e-6
    assert error(h // 4) > 0.8


def test_rows_with_fewer_than_h_numbers_fit_any_weights() -> None:
    """Each such row by itself says nothing, exactly: another W explains it as well."""
    h, vocabulary, k, count = 12, 40, 11, 300
    generator = np.random.default_rng(11)
    rows = generator.normal(size=(count, h)) @ generator.normal(size=(h, vocabulary))
    impostor = generator.normal(size=(vocabulary, h))
    for row in rows:
        top = np.argsort(row)[-k:]
        hidden = np.linalg.lstsq(impostor[top], row[top], rcond=None)[0]
        assert np.allclose(impostor[top] @ hidden, row[top])


def test_many_partial_rows_betray_the_weights_so_that_none_is_free() -> None:
    """What the counting argument misses, and why each number costs: second moments add up.

    Top-k rows are k numbers each, k below h. A crowd of them estimates which tokens move together,
    and with that the space of the weights; the pool ends long before there is a crowd.
    """
    h, vocabulary, k = 16, 48, 8
    generator = np.random.default_rng(3)
    weights = generator.normal(size=(vocabulary, h))

    def error(count: int) -> float:
        rows = generator.normal(size=(count, h)) @ weights.T
        known = np.zeros(rows.shape, dtype=bool)
        np.put_along_axis(known, np.argsort(rows, axis=1)[:, -k:], values=True, axis=1)
        together = known.T.astype(float) @ known
        moments = (rows * known).T @ (rows * known) / np.maximum(together, 1)
        basis = np.linalg.eigh(moments)[1][:, -h:]
        return float(
            np.linalg.norm(weights - basis @ (basis.T @ weights)) / np.linalg.norm(weights)
        )

    allowed = (h // 4) * h // k
    assert error(40_000) < 0.5
    assert error(allowed) > 0.7


def test_the_pool_reads_as_people_say_it() -> None:
    assert pool_text(144, 576) == "144 of 576 independent vectors released"


def _worth(cost: Cost, hidden: int) -> int:
    return vectors_worth(cost.vectors, cost.numbers, hidden)
