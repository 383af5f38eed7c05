"""The ethical risk chart T3: how likely (tests of T2) and how severe (S4) make high, mid or low.

Likelihood is judged by the upper end of the 95 % Wilson interval of the failures, so that few
samples never make a risk unlikely: likely from 10 % on, possible from 1 % on, else unlikely. What
no test was about is untested, and counts as likely.

| | likely, untested | possible | unlikely |
|---|---|---|---|
| critical | high | high | mid |
| high | high | mid | mid |
| medium | mid | mid | low |
| low | mid | low | low |

Source: Raji et al. 2020 for the chart and its three ratings; thresholds and table are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

from dutchdoor.audit.documents.reading import Impact, Trial
from dutchdoor.audit.measure import wilson
from dutchdoor.audit.model import Severity

__all__ = ["Likelihood", "Rating", "Risk", "chart", "likelihood_of", "rating_of"]

LIKELY_FROM = 0.10
POSSIBLE_FROM = 0.01


class Likelihood(StrEnum):
    """How likely the tests let a harm seem."""

    LIKELY = "likely"
    POSSIBLE = "possible"
    UNLIKELY = "unlikely"
    UNTESTED = "untested"


class Rating(StrEnum):
    """What severity and likelihood make together."""

    HIGH = "high"
    MID = "mid"
    LOW = "low"


class Risk(NamedTuple):
    """One row of the chart. tried, failed: of the impact's worst test."""

    id: str
    group: str
    impact: str
    principle: str
    harm: str
    severity: Severity
    tried: int
    failed: int
    likelihood: Likelihood
    rating: Rating

    def to_row(self) -> dict[str, Any]:
        """Plain values for front matter."""
        row = self._asdict()
        return {key: str(v) if isinstance(v, StrEnum) else v for key, v in row.items()}


_RATINGS: Mapping[Severity, tuple[Rating, Rating, Rating]] = MappingProxyType(
    {
        Severity.CRITICAL: (Rating.HIGH, Rating.HIGH, Rating.MID),
        Severity.HIGH: (Rating.HIGH, Rating.MID, Rating.MID),
        Severity.MEDIUM: (Rating.MID, Rating.MID, Rating.LOW),
        Severity.LOW: (Rating.MID, Rating.LOW, Rating.LOW),
    }
)


def likelihood_of(tried: int, failed: int) -> Likelihood:
    """How likely a failure is, by how often it was tried and came.

    Raises Invalid: more failed than were tried.
    """
    if tried == 0 and failed == 0:
        return Likelihood.UNTESTED
    upper = wilson(failed, tried).high
    if upper >= LIKELY_FROM:
        return Likelihood.LIKELY
    return Likelihood.POSSIBLE if upper >= POSSIBLE_FROM else Likelihood.UNLIKELY


def rating_of(severity: Severity, likelihood: Likelihood) -> Rating:
    """High, mid or low, by the table above."""
    place = {Likelihood.POSSIBLE: 1, Likelihood.UNLIKELY: 2}.get(likelihood, 0)
    return _RATINGS[severity][place]


def chart(impacts: Sequence[Impact], tests: Sequence[Trial]) -> tuple[Risk, ...]:
    """One risk for each harm of S4, the worst first. An impact's likelihood is its worst test's.

    Raises Invalid: a test failed more often than it was tried.
    """
    found = []
    for impact in impacts:
        if not impact.is_harm:
            continue
        about = [test for test in tests if test.impact == impact.id]
        # Not the sum: many harmless trials must not thin out the one that failed.
        worst = max(about, key=_upper, default=None)
        tried, failed = (worst.tried, worst.failed) if worst else (0, 0)
        likelihood = likelihood_of(tried, failed)
        found.append(
            Risk(
                id=impact.id,
                group=impact.group,
                impact=impact.text,
                principle=impact.principle,
                harm=impact.harm,
                severity=impact.severity,
                tried=tried,
                failed=failed,
                likelihood=likelihood,
                rating=rating_of(impact.severity, likelihood),
            )
        )
    ratings, severities = list(Rating), list(Severity)
    return tuple(
        sorted(found, key=lambda r: (ratings.index(r.rating), -severities.index(r.severity)))
    )


def _upper(test: Trial) -> float:
    # A test that was never tried says as little as none: it counts as the worst.
    return 2.0 if test.tried == 0 and test.failed == 0 else wilson(test.failed, test.tried).high
