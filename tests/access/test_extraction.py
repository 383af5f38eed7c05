"""The accountant's arithmetic, and the mathematics it stands on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dutchdoor.access.extraction import Asked, pool_text, vectors_of
from dutchdoor.errors import Invalid

H = 576


@pytest.mark.parametrize(
    ("asked", "vectors"),
    [
        (Asked(), 0),
        (Asked(taps=1, positions=1), 1),
        (Asked(taps=3, positions=8), 24),
        (Asked(full_rows=7), 7),
        (Asked(logprob_rows=500, top_logprobs=20), 0),
        (Asked(logprob_rows=500, top_logprobs=21), 500),
        (Asked(logprob_rows=100, echoed=100, top_logprobs=5), 1),
        (Asked(logprob_rows=2048, echoed=2048), 4),
        (Asked(logprob_rows=100, top_logprobs=20, biased=True), 4),
        (Asked(taps=2, positions=3, logprob_rows=10, echoed=10, full_rows=1), 8),
    ],
)
def test_what_each_request_costs(asked: Asked, vectors: int) -> None:
    assert vectors_of(asked, hidden_size=H) == vectors


def test_a_small_model_has_no_free_top_logprobs() -> None:
    """Where k reaches h, the k most likely are as good as a whole row."""
    assert vectors_of(Asked(logprob_rows=9, top_logprobs=16), hidden_size=16) == 9


@pytest.mark.parametrize(
    "asked",
    [Asked(taps=-1), Asked(positions=-1), Asked(full_rows=-1), Asked(echoed=2, logprob_rows=1)],
)
def test_what_cannot_be_counted_is_not_released(asked: Asked) -> None:
    with pytest.raises(Invalid):
        vectors_of(asked, hidden_size=H)


@pytest.mark.parametrize("hidden_size", [0, -1])
def test_without_a_hidden_size_nothing_is_released(hidden_size: int) -> None:
    with pytest.raises(Invalid):
        vectors_of(Asked(), hidden_size=hidden_size)


@given(
    st.builds(
        Asked,
        taps=st.integers(0, 30),
        positions=st.integers(0, 2048),
        logprob_rows=st.integers(0, 4096),
        top_logprobs=st.integers(0, 30),
        biased=st.booleans(),
        full_rows=st.integers(0, 100),
    )
)
def test_splitting_a_request_is_never_cheaper(asked: Asked) -> None:
    whole = vectors_of(asked, hidden_size=H)
    first = asked.logprob_rows // 2
    parts = [
        Asked(asked.taps, asked.positions, first, asked.top_logprobs, 0, asked.biased),
        Asked(
            0,
            0,
            asked.logprob_rows - first,
            asked.top_logprobs,
            0,
            asked.biased,
            asked.full_rows,
        ),
    ]
    assert sum(vectors_of(part, hidden_size=H) for part in parts) >= whole


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


def test_the_counting_argument_for_top_k_holds() -> None:
    """Rule 3: with k < h known entries a row, rows of any weights fit just as well."""
    h, vocabulary, k, count = 12, 40, 5, 300
    generator = np.random.default_rng(11)
    rows = generator.normal(size=(count, h)) @ generator.normal(size=(h, vocabulary))
    impostor = generator.normal(size=(vocabulary, h))
    for row in rows:
        top = np.argsort(row)[-k:]
        hidden = np.linalg.lstsq(impostor[top], row[top], rcond=None)[0]
        assert np.allclose(impostor[top] @ hidden, row[top])


def test_the_pool_reads_as_people_say_it() -> None:
    assert pool_text(144, 576) == "144 of 576 independent vectors released"
