"""The attacks that the extraction accountant is there for, as pure mathematics on what leaked.

They say how much of a last layer W (V x h) is known to whoever holds what is given. Nothing of the
serving program uses this file: `dutchdoor selftest`, the benchmark and the tests do.
Source: Carlini et al. 2024, arXiv 2403.06634, sections 4 and 5 (`last_layer`); ordinary least
squares (`linear_map`); the second moments of partial rows are our own (`from_partial_rows`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLIFF",
    "Matrix",
    "Span",
    "centred",
    "from_partial_rows",
    "last_layer",
    "linear_map",
    "relative_error",
    "shared_columns",
    "span_error",
    "unseen_error",
]

Matrix = NDArray[np.float64]
CLIFF = 10.0
"""So many times larger than the next one is the last singular value before the cliff."""
_NOISE = 1e-6
"""Of the largest: answers carry float32, about seven digits."""


class Span(NamedTuple):
    """What rows give away. hidden: h, where the attack can read it. basis: of W's columns [m, r].

    rows: how many there were; r is h where it is known, and else the rank of the rows.
    """

    hidden: int | None
    basis: Matrix
    rows: int


def centred(rows: Matrix) -> Matrix:
    """`rows` [n, m] less the mean of each: what log-probabilities and logits have in common."""
    return np.asarray(rows - rows.mean(axis=1, keepdims=True))


def shared_columns(rows: Sequence[dict[str, float]]) -> tuple[list[str], Matrix]:
    """The tokens that all rows show, and their numbers [n, m]; no columns where there are none."""
    shared = sorted(set.intersection(*(set(row) for row in rows))) if rows else []
    values = [[row[token] for token in shared] for row in rows]
    return shared, np.array(values, dtype=np.float64).reshape(len(rows), len(shared))


def last_layer(rows: Matrix) -> Span:
    """The span of W's columns, and h where the singular values fall off a cliff.

    rows: [n, m], logits or log-probabilities of the same m tokens. h shows only where there are
    more rows and more tokens than h.
    """
    if not rows.size:
        return Span(None, np.zeros((rows.shape[1], 0)), len(rows))
    _, values, vectors = np.linalg.svd(centred(rows), full_matrices=False)
    # Centring takes one dimension away: of m tokens m - 1 singular values say something.
    values = values[: max(1, min(len(rows), rows.shape[1] - 1))]
    floor = np.maximum(values[1:], _NOISE * 1e-3 * values[0])
    ratios = values[:-1] / floor
    place = int(np.argmax(ratios)) if len(ratios) else 0
    if len(ratios) and ratios[place] > CLIFF:
        return Span(place + 1, vectors[: place + 1].T, len(rows))
    rank = int((values > _NOISE * values[0]).sum()) if values[0] > 0 else 0
    return Span(None, vectors[:rank].T, len(rows))


def span_error(weights: Matrix, basis: Matrix) -> float:
    """The relative error of W [m, h] after the best h x h alignment of what is known of it.

    weights: the true ones, of the same tokens. 1.0 where nothing is known.
    """
    true = weights - weights.mean(axis=0, keepdims=True)
    orthogonal = np.linalg.qr(basis)[0] if basis.size else basis
    return relative_error(orthogonal @ (orthogonal.T @ true), true)


def relative_error(found: Matrix, true: Matrix) -> float:
    """The Frobenius norm of the difference over that of `true`."""
    size = float(np.linalg.norm(true))
    return float(np.linalg.norm(found - true)) / size if size > 0 else math.inf


def linear_map(before: Matrix, after: Matrix) -> Matrix:
    """The map [h, m] of least norm with before [n, h] @ map = after [n, m]."""
    return np.asarray(np.linalg.lstsq(before, after, rcond=None)[0])


def unseen_error(before: Matrix, after: Matrix) -> float:
    """The relative error, on the last quarter of the rows, of a map fitted on the others.

    1.0 where there are too few rows to try.
    """
    cut = len(before) * 3 // 4
    if cut < 1 or cut == len(before):
        return 1.0
    return relative_error(before[cut:] @ linear_map(before[:cut], after[:cut]), after[cut:])


def from_partial_rows(rows: Matrix, known: NDArray[np.bool_], hidden: int) -> Matrix:
    """A basis [m, hidden] estimated from rows of which only some numbers are known.

    known: [n, m]. No row says anything by itself; which numbers move together, over many, does.
    """
    present = known.astype(np.float64)
    together = present.T @ present
    moments = (rows * present).T @ (rows * present) / np.maximum(together, 1.0)
    return np.asarray(np.linalg.eigh(moments)[1][:, -hidden:])
