"""How well scores tell harmful from benign, with the uncertainty that belongs to it.

Pure numerics on two lists of scores; higher means more harmful.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOOTSTRAPS", "Measured", "Scores", "auroc", "recall", "share", "threshold_at"]

Scores = NDArray[np.float64]
BOOTSTRAPS = 400
_QUANTILES = (0.025, 0.975)


class Measured(NamedTuple):
    """A value and its 95 % interval (percentile bootstrap, or Wilson's for shares)."""

    value: float
    low: float
    high: float

    def to_body(self) -> dict[str, str]:
        """Canonical values: decimals as strings."""
        return {"value": f"{self.value:.4f}", "low": f"{self.low:.4f}", "high": f"{self.high:.4f}"}


def auroc(harmful: Scores, benign: Scores, seed: int = 0) -> Measured:
    """The chance that a harmful text scores above a benign one; ties count half.

    Both classes are resampled. 0.5 and the whole range where a class is empty.
    """
    if not len(harmful) or not len(benign):
        return Measured(0.5, 0.0, 1.0)
    value = _auroc(harmful, benign)
    generator = np.random.default_rng(seed)
    draws = [
        _auroc(generator.choice(harmful, len(harmful)), generator.choice(benign, len(benign)))
        for _ in range(BOOTSTRAPS)
    ]
    low, high = np.quantile(draws, _QUANTILES)
    return Measured(value, float(low), float(high))


def _auroc(harmful: Scores, benign: Scores) -> float:
    ordered = np.sort(benign)
    below = np.searchsorted(ordered, harmful, side="left")
    upto = np.searchsorted(ordered, harmful, side="right")
    return float((below + upto).mean() / (2 * len(ordered)))


def threshold_at(benign: Scores, false_positive_rate: float) -> float:
    """The lowest threshold at which at most that share of `benign` scores as high.

    Where the share is less than one of them, a quarter of a standard deviation above all of them.
    benign: at least one finite score.
    """
    ordered = np.sort(benign)[::-1]
    allowed = int(false_positive_rate * len(ordered) + 1e-9)
    if allowed == 0:
        return float(ordered[0] + 0.25 * ordered.std())
    if allowed >= len(ordered):
        return float(ordered[-1])
    return float((ordered[allowed - 1] + ordered[allowed]) / 2)


def recall(harmful: Scores, benign: Scores, false_positive_rate: float, seed: int = 0) -> Measured:
    """The share of harmful texts found at the threshold that lets that share of benign ones by.

    In each resample the threshold is set anew, so that the interval also holds what the benign
    sample leaves open.
    """
    if not len(harmful) or not len(benign):
        return Measured(0.0, 0.0, 1.0)
    value = float((harmful >= threshold_at(benign, false_positive_rate)).mean())
    generator = np.random.default_rng(seed)
    draws = []
    for _ in range(BOOTSTRAPS):
        threshold = threshold_at(generator.choice(benign, len(benign)), false_positive_rate)
        draws.append((generator.choice(harmful, len(harmful)) >= threshold).mean())
    low, high = np.quantile(draws, _QUANTILES)
    return Measured(value, float(low), float(high))


def share(scores: Scores, threshold: float) -> Measured:
    """The share of scores at or above `threshold`, with Wilson's interval.

    Source: Wilson, Probable inference, JASA 22, 1927.
    """
    count = len(scores)
    if not count:
        return Measured(0.0, 0.0, 1.0)
    p, z = float((scores >= threshold).mean()), 1.96
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * ((p * (1 - p) / count + z * z / (4 * count * count)) ** 0.5)
    return Measured(p, max(0.0, centre - half), min(1.0, centre + half))
