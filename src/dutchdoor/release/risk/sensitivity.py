"""Which assumptions move a result most: the tornado.

For each figure: the result's median where the figure is among its lowest draws, and where it is
among its highest; and the rank correlation of the two. Figures that are certain move nothing, and
those whose correlation chance alone would give are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dutchdoor.release.risk.distributions import Array

__all__ = ["Bar", "rank_correlation", "tornado"]

BARS_MAX = 12
CHANCE_DEVIATIONS = 3.0
"""A correlation within so many standard deviations of none may be chance."""


class Bar(NamedTuple):
    """One bar of the tornado. low, high: the result's median at the figure's two ends."""

    name: str
    low: float
    high: float
    correlation: float


def tornado(draws: Mapping[str, Array], result: Array, tail: float) -> tuple[Bar, ...]:
    """The figures that move `result` most, the widest first. tail: part of the draws at an end."""
    count = max(1, round(tail * result.size))
    bars = []
    for name, values in draws.items():
        if values.min() == values.max():
            continue
        order = np.argsort(values, kind="stable")
        correlation = rank_correlation(values, result)
        if abs(correlation) < CHANCE_DEVIATIONS / math.sqrt(result.size):
            continue
        low = float(np.median(result[order[:count]]))
        high = float(np.median(result[order[-count:]]))
        bars.append(Bar(name, low, high, correlation))
    bars.sort(key=lambda bar: (-abs(bar.high - bar.low), bar.name))
    return tuple(bars[:BARS_MAX])


def rank_correlation(first: Array, second: Array) -> float:
    """Spearman's rank correlation; 0 where one of the two never changes."""
    if first.min() == first.max() or second.min() == second.max():
        return 0.0
    ranks = [np.argsort(np.argsort(row, kind="stable"), kind="stable") for row in (first, second)]
    both = np.asarray(np.corrcoef(np.stack(ranks).astype(np.float64)))
    return float(both[0, 1])
