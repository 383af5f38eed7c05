"""What an evaluation measured, with its uncertainty; all figures are decimal strings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from dutchdoor.errors import Invalid

__all__ = ["Evaluation", "Interval", "wilson"]

_Z_95 = 1.959963984540054  # The 97.5 % quantile of the normal distribution.


class Interval(NamedTuple):
    """A 95 % interval of a rate."""

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


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one bundle.

    counts: what a hit is, in words. n: samples judged. hits: of these. guard_stopped: samples that
    the guard stopped before or while the model answered; they are in neither. score, low, high:
    hits / n and its 95 % Wilson interval. access_depth: the depth that the auditor's calls had.
    log, log_digest: the log in the audit's folder.
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

    @classmethod
    def of(
        cls,
        *,
        name: str,
        counts: str,
        n: int,
        hits: int,
        guard_stopped: int,
        seed: int,
        tokens_max: int,
        bundle: str,
        access_depth: str,
        log: str,
        log_digest: str,
    ) -> Evaluation:
        """The evaluation with its score and interval. Raises Invalid: nothing was judged."""
        interval = wilson(hits, n)
        return cls(
            name=name,
            counts=counts,
            n=n,
            hits=hits,
            guard_stopped=guard_stopped,
            score=f"{hits / n:.3f}",
            low=f"{interval.low:.3f}",
            high=f"{interval.high:.3f}",
            seed=seed,
            tokens_max=tokens_max,
            bundle=bundle,
            access_depth=access_depth,
            log=log,
            log_digest=log_digest,
        )

    def to_body(self) -> dict[str, Any]:
        """Canonical values."""
        return dict(vars(self))

    @classmethod
    def from_body(cls, body: Any) -> Evaluation:
        """The evaluation of canonical values or front matter.

        Raises Invalid: a field is missing, unknown or of the wrong kind, or the score does not
        follow from n and hits.
        """
        kinds = {name: int if kind == "int" else str for name, kind in cls.__annotations__.items()}
        if not isinstance(body, dict) or set(body) != set(kinds):
            raise Invalid("not an evaluation: fields missing or unknown", code="bad_evaluation")
        for name, kind in kinds.items():
            if not isinstance(body[name], kind) or isinstance(body[name], bool):
                raise Invalid(f"an evaluation's {name} is of the wrong kind", code="bad_evaluation")
        given = cls(**body)
        inputs = {key: value for key, value in body.items() if key not in {"score", "low", "high"}}
        if cls.of(**inputs) != given:
            message = f"the score of {given.name} does not follow from its n and hits"
            raise Invalid(message, code="bad_evaluation", hint="run the evaluation again")
        return given
