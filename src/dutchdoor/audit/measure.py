"""What an evaluation measured, with its uncertainty; all figures are decimal strings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from dutchdoor.errors import Invalid

__all__ = ["Evaluation", "Interval", "Measure", "decimal", "wilson"]

_Z_95 = 1.959963984540054  # The 97.5 % quantile of the normal distribution.


class Measure(StrEnum):
    """What the score is: a rate of hits, another value, or nothing, with the reason why."""

    RATE = "rate"
    VALUE = "value"
    NOT_MEASURED = "not_measured"


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def wilson(hits: int, n: int) -> Interval:
    """The 95 % Wilson score interval of the rate hits / n, n >= 1.

    Raises Invalid: no samples, or more hits than samples.
    Source: Wilson 1927; Brown, Cai and DasGupta 2001 (doi 10.1214/ss/1009213286), section 3.1.1.
    """
    if n < 1 or not 0 <= hits <= n:
        raise Invalid(f"{hits} of {n} is no rate", code="bad_evaluation")
    rate, z2 = hits / n, _Z_95 * _Z_95
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z_95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def decimal(value: float) -> str:
    """`value` as figures are written: three decimals."""
    return f"{value + 0.0:.3f}"  # The sum turns a negative zero into zero.


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one bundle.

    counts: what a hit is, or what the value is, in words. n: samples judged. hits: of these, 0 for
    a value. guard_stopped: samples that the guard stopped before or while the model answered; they
    are in neither. score, low, high: hits / n and its 95 % Wilson interval, or the value and its
    95 % interval; "" where nothing was measured, and then `why` says why. access_depth: the depth
    that the auditor's calls had. log, log_digest: the log in the audit's folder. samples,
    samples_digest: the file of random samples beside it. details: further figures, by name.
    """

    name: str
    counts: str
    n: int
    hits: int
    guard_stopped: int
    score: str
    low: str
    high: str
    seed: int
    tokens_max: int
    bundle: str
    access_depth: str
    log: str
    log_digest: str
    measure: str = Measure.RATE
    why: str = ""
    samples: str = ""
    samples_digest: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, *, name: str, n: int, hits: int, **others: Any) -> Evaluation:
        """The rate hits / n with its interval; others: the rest. Raises Invalid: none judged."""
        interval = wilson(hits, n)
        return cls(
            name=name,
            n=n,
            hits=hits,
            score=decimal(hits / n),
            low=decimal(interval.low),
            high=decimal(interval.high),
            measure=str(Measure.RATE),
            **others,
        )

    @classmethod
    def valued(
        cls, *, name: str, n: int, value: float, interval: Interval, **others: Any
    ) -> Evaluation:
        """Another value than a rate, with its interval; others: the rest."""
        return cls(
            name=name,
            n=n,
            hits=0,
            score=decimal(value),
            low=decimal(interval.low),
            high=decimal(interval.high),
            measure=str(Measure.VALUE),
            **others,
        )

    @classmethod
    def not_measured(cls, *, name: str, why: str, **others: Any) -> Evaluation:
        """An evaluation that could not measure anything, and why; others: the rest."""
        return cls(
            name=name,
            why=why,
            n=0,
            hits=0,
            score="",
            low="",
            high="",
            measure=str(Measure.NOT_MEASURED),
            **others,
        )

    @property
    def is_rate(self) -> bool:
        """Whether the score is hits / n."""
        return self.measure == Measure.RATE

    @property
    def is_measured(self) -> bool:
        """Whether there is a score at all."""
        return self.measure != Measure.NOT_MEASURED

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Name and digest of each file beside it: its log and its samples, where it has them.

        Only what measured nothing may be without a log.
        """
        rows = ((self.log, self.log_digest), (self.samples, self.samples_digest))
        return tuple(row for row in rows if row[0] or (row is rows[0] and self.is_measured))

    @property
    def text(self) -> str:
        """The figures in one line, for people."""
        if not self.is_measured:
            return f"not measured: {self.why}"
        span = f"(95 %: {self.low} to {self.high})"
        if self.is_rate:
            return f"{self.hits} of {self.n} {self.counts} {span}"
        return f"{self.counts} {self.score} {span}, n = {self.n}"

    def to_body(self) -> dict[str, Any]:
        """Canonical values."""
        return {**vars(self), "details": dict(self.details)}

    @classmethod
    def from_body(cls, body: Any) -> Evaluation:
        """The evaluation of canonical values or front matter.

        Raises Invalid: a field is missing, unknown or of the wrong kind, or the score does not
        follow from n and hits.
        """
        kinds: dict[str, type] = {name: _kind(kind) for name, kind in cls.__annotations__.items()}
        if not isinstance(body, dict) or set(body) != set(kinds):
            raise Invalid("not an evaluation: fields missing or unknown", code="bad_evaluation")
        for name, kind in kinds.items():
            if not isinstance(body[name], kind) or isinstance(body[name], bool):
                raise Invalid(f"an evaluation's {name} is of the wrong kind", code="bad_evaluation")
        details = body["details"]
        if not all(isinstance(text, str) for row in details.items() for text in row):
            raise Invalid("an evaluation's details are no texts", code="bad_evaluation")
        given = cls(**body)
        _must_follow(given)
        return given


def _kind(annotation: str) -> type:
    return {"int": int, "str": str}.get(annotation, dict)


def _must_follow(given: Evaluation) -> None:
    """Raises Invalid where a score says something else than the figures it stands on."""
    derived = {"n", "hits", "score", "low", "high", "measure"}
    others = {key: value for key, value in vars(given).items() if key not in derived}
    follows = False
    if given.measure == Measure.RATE:
        expected = Evaluation.of(n=given.n, hits=given.hits, **others)
        follows = expected == given and not given.why
    elif given.measure == Measure.VALUE:
        follows = given.n >= 1 and given.hits == 0 and not given.why and _in_order(given)
    elif given.measure == Measure.NOT_MEASURED:
        follows = bool(given.why) and Evaluation.not_measured(**others) == given
    if not follows:
        message = f"the score of {given.name} does not follow from its n and hits"
        raise Invalid(message, code="bad_evaluation", hint="run the evaluation again")


def _in_order(given: Evaluation) -> bool:
    try:
        low, score, high = (float(text) for text in (given.low, given.score, given.high))
    except ValueError:
        return False
    return all(math.isfinite(figure) for figure in (low, high)) and low <= score <= high
