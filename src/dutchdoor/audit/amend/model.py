"""Curves of the amend test, as the runtime sends them; all figures are decimal strings there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dutchdoor.errors import Invalid

__all__ = ["Cost", "Curve", "Figure", "Point", "Service", "combine", "uplift"]


@dataclass(frozen=True)
class Figure:
    """A mean probability and its 95 % interval over n prompts."""

    mean: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, body: Any) -> Figure:
        """Raises KeyError, TypeError, ValueError: not a figure."""
        figure = cls(float(body["mean"]), float(body["low"]), float(body["high"]), int(body["n"]))
        if not 0.0 <= figure.low <= figure.mean <= figure.high <= 1.0 or figure.n < 1:
            raise ValueError
        return figure

    def text(self) -> str:
        """As a person reads it."""
        return f"{self.mean:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Cost:
    """What an attacker spends up to a point. seconds: on this machine."""

    examples: int
    tokens: int
    flops: float
    seconds: float


@dataclass(frozen=True)
class Point:
    """One point of a curve. control: refusals of harmless requests. answer: not after a prefill."""

    x: int
    refusal: Figure
    control: Figure
    answer: Figure | None
    cost: Cost


@dataclass(frozen=True)
class Service:
    """The sealed model as it is served. held_back: refused or stopped by the guard's probe.

    probe: its digest, "" where the runtime held none. stopped: of the prompts.
    """

    probe: str
    threshold: str
    stopped: int
    controls_stopped: int
    held_back: Figure


@dataclass(frozen=True)
class Curve:
    """What one way of modifying does, by one seed, or by several (`combine`)."""

    method: str
    subject: str
    seeds: tuple[int, ...]
    parameters: int
    points: tuple[Point, ...]
    service: Service | None = None

    @classmethod
    def of(cls, body: Any) -> Curve:
        """The curve of canonical values (unverified). Raises Invalid: not one."""
        try:
            service = body.get("service")
            curve = cls(
                method=str(body["method"]),
                subject=str(body["subject"]),
                seeds=(int(body["seed"]),),
                parameters=int(body["parameters"]),
                points=tuple(_point(row) for row in body["points"]),
                service=None if service is None else _service(service),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Invalid("not a curve of an amend test", code="bad_curve") from error
        if not curve.points:
            raise Invalid("a curve without points", code="bad_curve")
        return curve


def combine(curves: Sequence[Curve]) -> Curve:
    """One curve of several seeds: the mean of their means, in an interval that spans all of theirs.

    Wider than a pooled interval would be: seeds are few, and their spread is part of the doubt.
    Raises Invalid: they are not of one kind.
    """
    first = curves[0]
    kinds = {(c.method, c.subject, tuple(p.x for p in c.points)) for c in curves}
    if len(kinds) != 1:
        raise Invalid("curves of different kinds do not combine", code="bad_curve")
    points = []
    for rows in zip(*(curve.points for curve in curves), strict=True):
        answers = [row.answer for row in rows if row.answer is not None]
        points.append(
            Point(
                x=rows[0].x,
                refusal=_span([row.refusal for row in rows]),
                control=_span([row.control for row in rows]),
                answer=_span(answers) if answers else None,
                cost=Cost(
                    rows[0].cost.examples,
                    round(sum(row.cost.tokens for row in rows) / len(rows)),
                    sum(row.cost.flops for row in rows) / len(rows),
                    sum(row.cost.seconds for row in rows) / len(rows),
                ),
            )
        )
    seeds = tuple(seed for curve in curves for seed in curve.seeds)
    return Curve(first.method, first.subject, seeds, first.parameters, tuple(points))


def uplift(before: Figure, point: Point) -> tuple[float, float, float]:
    """How much less is held back at `point` than `before`: mean, and bounds from both intervals."""
    return (
        before.mean - point.refusal.mean,
        before.low - point.refusal.high,
        before.high - point.refusal.low,
    )


def _span(figures: Sequence[Figure]) -> Figure:
    return Figure(
        sum(figure.mean for figure in figures) / len(figures),
        min(figure.low for figure in figures),
        max(figure.high for figure in figures),
        figures[0].n,
    )


def _point(body: Mapping[str, Any]) -> Point:
    cost, answer = body["cost"], body.get("answer")
    return Point(
        x=int(body["x"]),
        refusal=Figure.of(body["refusal"]),
        control=Figure.of(body["control"]),
        answer=None if answer is None else Figure.of(answer),
        cost=Cost(
            int(cost["examples"]),
            int(cost["tokens"]),
            float(cost["flops"]),
            float(cost["seconds"]),
        ),
    )


def _service(body: Mapping[str, Any]) -> Service:
    return Service(
        probe=str(body["probe"]),
        threshold=str(body["threshold"]),
        stopped=int(body["stopped"]),
        controls_stopped=int(body["controls_stopped"]),
        held_back=Figure.of(body["held_back"]),
    )
