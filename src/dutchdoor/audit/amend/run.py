"""Runs an amend test arm by arm; what is done is kept, so that a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.audit.amend.model import Curve
from dutchdoor.audit.amend.plan import AmendOptions, Arm, arms_of, served_arm
from dutchdoor.audit.amend.plot import plot
from dutchdoor.audit.amend.results import (
    AMEND_NAME,
    PLOT_NAME,
    AmendResults,
    load_results,
    shows_safeguard,
)
from dutchdoor.audit.document import write_bytes
from dutchdoor.errors import Invalid, NotFound

__all__ = ["Ask", "run_amend"]

Ask = Callable[[dict[str, Any]], dict[str, Any]]
"""Sends one arm's body to the runtime and gives its answer: `curve`, and `inference`."""

Progress = Callable[[str, int, int], None]


def run_amend(
    folder: Path,
    bundle: str,
    model: str,
    ask: Ask,
    *,
    options: AmendOptions | None = None,
    progress: Progress | None = None,
) -> AmendResults:
    """The whole test; `amend.json` and `amend.svg` are in `folder` when it returns.

    Arms that `amend.json` holds already, for the same request, are not run again.
    Raises what `ask` raises; arms that were done stay. Raises Invalid: bad options.
    """
    options = options or AmendOptions()
    options.check()
    kept = _kept(folder, bundle)
    done: list[dict[str, Any]] = []
    first = served_arm(model, options)
    organism = list(arms_of(model, "organism", options))
    total = 1 + len(organism)

    def save(complete: bool) -> None:
        rows = done if complete else [*done, *(r for r in kept.values() if r not in done)]
        body = {"bundle": bundle, "model": model, "complete": complete, "arms": rows}
        write_bytes(folder / AMEND_NAME, canonical.encode(body))

    def run(arms: Iterator[Arm]) -> Iterator[dict[str, Any]]:
        for arm in arms:
            if progress is not None:
                progress(f"{arm.subject}: {arm.name}, seed {arm.seed}", len(done), total)
            row = kept.get(arm.request)
            if row is None:
                answer = ask(arm.body)
                row = {
                    "arm": arm.name,
                    "subject": arm.subject,
                    "seed": arm.seed,
                    "request": arm.request,
                    "inference": str(answer["inference"]),
                    "curve": answer["curve"],
                }
                Curve.of(row["curve"])
            done.append(row)
            save(complete=False)
            yield row

    (served,) = run(iter([first]))
    if options.even_without_safeguard or shows_safeguard(Curve.of(served["curve"])):
        own = list(arms_of(model, "model", options))
        total += len(own)
        list(run(iter(own)))
    list(run(iter(organism)))
    save(complete=True)
    results = load_results(folder)
    write_bytes(folder / PLOT_NAME, plot(results.combined()).encode())
    return results


def _kept(folder: Path, bundle: str) -> dict[str, dict[str, Any]]:
    """The arms of an earlier run, by request; none where the file is not there or of another."""
    try:
        results = load_results(folder)
    except (NotFound, Invalid):
        return {}
    if results.bundle != bundle:
        return {}
    return {str(row["request"]): dict(row) for row in results.rows}
