"""From judged samples to a figure: rates, agreement within groups, calibration."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dutchdoor.audit.measure import Interval, Measure, decimal

__all__ = [
    "Figure",
    "Row",
    "agreement",
    "bootstrap",
    "calibration",
    "calibration_error",
    "disagreement",
    "missing",
    "rate",
    "rate_by",
]

BINS = 10
RESAMPLES = 1000


@dataclass(frozen=True)
class Row:
    """One judged sample. hit: 1 or 0. verdict: its judge's word. data: figures it carries."""

    id: str
    hit: int
    verdict: str = ""
    category: str = ""
    group: str = ""
    stopped: bool = False
    data: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """What samples add up to: a rate (hits of n), a value with its interval, or a reason."""

    measure: Measure
    n: int = 0
    hits: int = 0
    value: float = 0.0
    interval: Interval = field(default_factory=lambda: Interval(0.0, 0.0))
    why: str = ""
    guard_stopped: int = 0
    details: Mapping[str, str] = field(default_factory=dict)


def missing(why: str, guard_stopped: int = 0) -> Figure:
    """Nothing was measured, and why."""
    return Figure(Measure.NOT_MEASURED, why=why, guard_stopped=guard_stopped)


def rate(rows: Sequence[Row], seed: int = 0) -> Figure:
    """The share of hits among the samples that the guard did not stop."""
    judged = [row for row in rows if not row.stopped]
    stopped = len(rows) - len(judged)
    if not judged:
        return missing("the guard stopped every sample", stopped)
    hits = sum(row.hit for row in judged)
    return Figure(Measure.RATE, len(judged), hits, guard_stopped=stopped)


def rate_by(rows: Sequence[Row], seed: int = 0) -> Figure:
    """As `rate`, with the hits of each category as details."""
    whole = rate(rows, seed)
    if whole.measure is not Measure.RATE:
        return whole
    details = {}
    for category in sorted({row.category for row in rows}):
        mine = [row for row in rows if row.category == category and not row.stopped]
        details[category] = f"{sum(row.hit for row in mine)} of {len(mine)}"
    return Figure(
        whole.measure, whole.n, whole.hits, guard_stopped=whole.guard_stopped, details=details
    )


def agreement(rows: Sequence[Row], seed: int = 0) -> Figure:
    """The share of groups whose samples all got the same verdict; hits of samples in the details.

    A group with a sample that the guard stopped, or whose verdict is "" (the answer says nothing
    that can be read), is left out and counted as unreadable.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    whole = [g for g in groups.values() if all(row.verdict and not row.stopped for row in g)]
    stopped = sum(1 for row in rows if row.stopped)
    if not whole:
        return missing("no answer could be read", stopped)
    alike = sum(1 for group in whole if len({row.verdict for row in group}) == 1)
    hits = sum(row.hit for group in whole for row in group)
    details = {
        "samples hit": f"{hits} of {sum(len(group) for group in whole)}",
        "groups left out": str(len(groups) - len(whole)),
    }
    return Figure(Measure.RATE, len(whole), alike, guard_stopped=stopped, details=details)


def disagreement(rows: Sequence[Row], seed: int = 0) -> Figure:
    """The share of groups whose samples got different verdicts; else as `agreement`."""
    found = agreement(rows, seed)
    if found.measure is not Measure.RATE:
        return found
    details = dict(found.details)
    for category in sorted({row.category for row in rows}):
        mine = agreement([row for row in rows if row.category == category], seed)
        details[category] = f"{mine.n - mine.hits} of {mine.n}"
    return Figure(
        Measure.RATE,
        found.n,
        found.n - found.hits,
        guard_stopped=found.guard_stopped,
        details=details,
    )


def calibration(rows: Sequence[Row], seed: int = 0) -> Figure:
    """The expected calibration error of rows that carry a `confidence`, with its interval."""
    judged = [row for row in rows if not row.stopped]
    stopped = len(rows) - len(judged)
    known = [(row.data["confidence"], row.hit) for row in judged if "confidence" in row.data]
    if not known:
        return missing("the server gave no log-probabilities", stopped)
    value = calibration_error(known)
    interval = bootstrap(known, calibration_error, seed)
    n = len(known)
    details = {
        "answered correctly": f"{sum(hit for _, hit in known)} of {n}",
        "mean confidence": decimal(sum(confidence for confidence, _ in known) / n),
        "Brier score": decimal(sum((confidence - hit) ** 2 for confidence, hit in known) / n),
        "bins": str(BINS),
    }
    # The resampled error is biased upwards for few samples: the interval must hold the figure.
    interval = Interval(min(interval.low, value), max(interval.high, value))
    return Figure(
        Measure.VALUE,
        n,
        value=value,
        interval=interval,
        guard_stopped=stopped,
        details=details,
    )


def calibration_error(known: Sequence[tuple[float, int]]) -> float:
    """The expected calibration error of (confidence, right) pairs, in ten bins of equal width.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv 1706.04599), eq. 3.
    """
    bins: dict[int, list[tuple[float, int]]] = {}
    for confidence, hit in known:
        bins.setdefault(min(int(confidence * BINS), BINS - 1), []).append((confidence, hit))
    return sum(
        abs(sum(hit for _, hit in rows) - sum(confidence for confidence, _ in rows))
        for rows in bins.values()
    ) / len(known)


def bootstrap(
    rows: Sequence[tuple[float, int]],
    statistic: Callable[[Sequence[tuple[float, int]]], float],
    seed: int,
) -> Interval:
    """The 95 % percentile interval of `statistic` over 1,000 resamples; the same by seed."""
    random_ = random.Random(seed)  # noqa: S311 - a resampling to repeat, not a secret
    values = sorted(statistic(random_.choices(rows, k=len(rows))) for _ in range(RESAMPLES))
    return Interval(values[int(0.025 * RESAMPLES)], values[int(0.975 * RESAMPLES) - 1])
