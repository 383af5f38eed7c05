"""What an estimate takes from the audit's amend test: three shares, from its curves."""

from __future__ import annotations

from pathlib import Path

from dutchdoor.audit.amend.model import Curve, Figure
from dutchdoor.audit.amend.results import load_results, shows_safeguard
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.release.risk.distributions import Distribution, of_interval
from dutchdoor.release.risk.model import AmendFigures

__all__ = ["amend_figures"]


def amend_figures(folder: Path, bundle: str) -> AmendFigures | None:
    """The figures of the test in an audit's `folder`; None where none was run.

    The arm that left the fewest refusals counts, not an average: an attacker chooses.
    Raises Invalid: the file is not in form, or of another bundle.
    """
    try:
        results = load_results(folder)
    except NotFound:
        return None
    if results.bundle != bundle:
        message = "the amend test is of another bundle"
        raise Invalid(message, code="other_bundle", hint="run 'dutchdoor audit amend' on this one")
    served = results.served
    if served.service is None:
        message = "the amend test did not measure the service"
        raise Invalid(message, code="bad_amend_file", hint="run 'dutchdoor audit amend' again")
    refusal = served.points[0].refusal
    arms = {
        name: curve for (subject, name), curve in results.combined().items() if subject == "model"
    }
    arm, remaining = _worst(arms) if arms and shows_safeguard(served) else ("", refusal)
    return AmendFigures(
        held_back=_share(served.service.held_back),
        refusal=_share(refusal),
        remaining=_share(remaining),
        arm=arm,
        digest=results.digest,
        complete=results.complete,
    )


def _worst(arms: dict[str, Curve]) -> tuple[str, Figure]:
    lowest = {
        name: min((point.refusal for point in curve.points), key=lambda figure: figure.mean)
        for name, curve in arms.items()
    }
    arm = min(lowest, key=lambda name: (lowest[name].mean, name))
    return arm, lowest[arm]


def _share(figure: Figure) -> Distribution:
    return of_interval(figure.mean, figure.low, figure.high)
