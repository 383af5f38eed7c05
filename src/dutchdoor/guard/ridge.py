"""The linear separator under the probe: shrinkage discriminant analysis, and leaving groups out.

Ridge regression on +1/-1 targets has the direction of linear discriminant analysis whose
within-class covariance is shrunk towards a multiple of the identity; written in the Gram matrix
[n, n] it costs the same whatever the model's width, and leaving any group of examples out is
exact without fitting again.
Source: Hastie, Tibshirani, Friedman, The elements of statistical learning, sections 4.3 and 7.10;
Friedman, Regularized discriminant analysis, JASA 84, 1989.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "Head", "Ridge"]

Array = NDArray[np.float64]
_TINY = 1e-6


@dataclass(frozen=True)
class Head:
    """A linear score. weights: [d]. score(x) = x . weights + bias."""

    weights: Array
    bias: float

    def score(self, features: Array) -> Array:
        """Scores [n] of features [n, d]."""
        return features @ self.weights + self.bias


class Ridge:
    """A separator fitted once; `head()` of all examples, `without(group)` of the others.

    features: [n, d], finite. harmful: [n] booleans, both values present. shrinkage: above 0, below
    1; the share of the identity in the covariance. Features are standardised by their mean and
    deviation over all examples, which looks at no label.
    """

    def __init__(self, features: Array, harmful: NDArray[np.bool_], shrinkage: float) -> None:
        self._centre = features.mean(axis=0)
        self._scale = features.std(axis=0) + _TINY
        self._data = (features - self._centre) / self._scale
        count = len(harmful)
        gram = self._data @ self._data.T
        # The constant feature that carries the bias is as large as all others together, so that
        # the penalty hardly touches it.
        self._constant = float(np.trace(gram)) / count
        gram += self._constant
        gram[np.diag_indices(count)] += count * shrinkage / (1.0 - shrinkage)
        self._inverse = np.linalg.inv(gram)
        self._dual = self._inverse @ np.where(harmful, 1.0, -1.0)

    def head(self) -> Head:
        """The separator of all examples."""
        return self._of(self._data, self._dual)

    def without(self, group: NDArray[np.int64]) -> Head:
        """The separator that was never shown the examples at these indices."""
        rest = np.setdiff1d(np.arange(len(self._dual)), group)
        inner = self._inverse[np.ix_(group, group)]
        correction = self._inverse[np.ix_(rest, group)] @ np.linalg.solve(inner, self._dual[group])
        return self._of(self._data[rest], self._dual[rest] - correction)

    def _of(self, data: Array, dual: Array) -> Head:
        weights = (dual @ data) / self._scale
        bias = self._constant * float(dual.sum()) - float(self._centre @ weights)
        return Head(weights, bias)
