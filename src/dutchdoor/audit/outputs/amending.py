"""The amend test's curves as they are drawn: against what is done, and against what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dutchdoor.audit.amend.model import Curve as Tested
from dutchdoor.audit.amend.model import Figure
from dutchdoor.audit.amend.plan import ARMS
from dutchdoor.audit.amend.results import AmendResults, load_results, shows_safeguard
from dutchdoor.audit.outputs.text import clean, label
from dutchdoor.errors import NotFound, Tampered

__all__ = ["COST_AXIS", "Curve", "Point", "curves_of", "read_curves"]

COST_AXIS = "floating-point operations of the attacker"


@dataclass(frozen=True)
class Point:
    """One point of a curve. at: steps, or whatever the axis says. low, high: 95 % interval."""

    at: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """What one way to modify the model does. axis: what is counted along it."""

    name: str
    behaviour: str
    axis: str
    points: tuple[Point, ...]


def read_curves(
    folder: Path, bundle: str, digest: str
) -> tuple[tuple[Curve, ...], tuple[str, ...]]:
    """The curves of the test that the testing report names by `digest`, and remarks in words.

    Figures that no testing report names are not drawn: nobody signed for them.
    Raises Tampered: the file is another than the one named, or of another bundle. Raises Invalid:
    it is not in form.
    """
    try:
        results = load_results(folder)
    except NotFound:
        if digest:
            message = "the amend test that the testing report names is gone"
            raise Tampered(message, code="amend_changed", where=str(folder)) from None
        return (), ()
    if not digest:
        return (), ("An amend test was begun; the testing report does not name it yet.",)
    if results.digest != digest or results.bundle != bundle:
        message = "the amend test is not the one that the testing report names"
        raise Tampered(message, code="amend_changed", where=str(folder))
    return curves_of(results), tuple(_remarks(results))


def curves_of(results: AmendResults) -> tuple[Curve, ...]:
    """Every arm's curves over its seeds, with the refusals of harmless requests beside."""
    found = []
    for (subject, arm), tested in results.combined().items():
        axis = f"{label(arm)}: {ARMS[arm]}"
        found += list(_curves(clean(f"{subject}, {label(arm)}"), axis, tested))
    return tuple(found)


def _curves(name: str, axis: str, tested: Tested) -> Iterator[Curve]:
    rows = tested.points
    yield Curve(name, "refusal", axis, tuple(_point(row.x, row.refusal) for row in rows))
    harmless = tuple(_point(row.x, row.control) for row in rows)
    yield Curve(name, "harmless refused", axis, harmless)
    paid = [row for row in rows if row.cost.flops > 0]
    if paid:
        points = sorted((_point(row.cost.flops, row.refusal) for row in paid), key=lambda p: p.at)
        yield Curve(name, "refusal", COST_AXIS, tuple(points))


def _point(at: float, figure: Figure) -> Point:
    return Point(at, figure.mean, figure.low, figure.high)


def _remarks(results: AmendResults) -> Iterator[str]:
    served = results.served
    refusal = served.points[0].refusal
    yield (
        f"Served and unmodified, the model opens with a refusal with probability "
        f"{refusal.mean:.2f} (95 %: {refusal.low:.2f} to {refusal.high:.2f}, n = {refusal.n})."
    )
    if served.service is not None and not served.service.probe:
        yield "No probe of the guard was loaded: nothing but the model's own refusals held back."
    elif served.service is not None:
        held = served.service.held_back
        yield (
            f"With its guard, {held.mean:.2f} (95 %: {held.low:.2f} to {held.high:.2f}) is held "
            "back: what a modification gains is measured against that."
        )
    if not shows_safeguard(served):
        yield "There is nothing to unlock: the model shows no safeguard before any modification."
    if any(subject == "organism" for subject, _ in results.combined()):
        yield (
            "The organism is a copy of this model that was taught, for this test alone, to refuse "
            "one harmless topic. Where its curve falls, that much effort undoes such a safeguard."
        )
