"""Runs an amend test arm by arm; what is done is kept, so a killed run goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
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
    head = {"bundle": bundle, "model": model, "prompts": options.prompt_set.to_body()}
    running = _Running(folder, head, ask, progress)
    organism = list(arms_of(model, "organism", options))
    running.total = 1 + len(organism)
    served = running.run(served_arm(model, options))
    if options.even_without_safeguard or shows_safeguard(served):
        own = list(arms_of(model, "model", options))
        running.total += len(own)
        for arm in own:
            running.run(arm)
    for arm in organism:
        running.run(arm)
    running.save(complete=True)
    results = load_results(folder)
    write_bytes(folder / PLOT_NAME, plot(results.combined()).encode())
    return results


class _Running:
    """Arms as they are done, and those that an earlier run left. total: arms of this run."""

    def __init__(
        self, folder: Path, head: dict[str, Any], ask: Ask, progress: Progress | None
    ) -> None:
        self._folder = folder
        self._head = head
        self._ask = ask
        self._progress = progress
        self._kept = _kept(folder, str(head["bundle"]))
        self._done: dict[str, dict[str, Any]] = {}
        self.total = 1

    def run(self, arm: Arm) -> Curve:
        """The arm's curve, durable in `amend.json`: an earlier run's, or a new one."""
        if self._progress is not None:
            name = f"{arm.subject}: {arm.name}, seed {arm.seed}"
            self._progress(name, len(self._done), self.total)
        row = self._kept.get(arm.request)
        if row is None:
            answer = self._ask(arm.body)
            row = {
                "arm": arm.name,
                "subject": arm.subject,
                "seed": arm.seed,
                "request": arm.request,
                "inference": str(answer["inference"]),
                "curve": answer["curve"],
            }
        curve = Curve.of(row["curve"])
        self._done[arm.request] = row
        self.save(complete=False)
        return curve

    def save(self, *, complete: bool) -> None:
        """Writes what is done; until all is, with what may still be of use."""
        rows = self._done if complete else {**self._kept, **self._done}
        body = {**self._head, "complete": complete, "arms": list(rows.values())}
        write_bytes(self._folder / AMEND_NAME, canonical.encode(body))


def _kept(folder: Path, bundle: str) -> dict[str, dict[str, Any]]:
    """The arms of an earlier run, by request; none where the file is not there or of another."""
    try:
        results = load_results(folder)
    except (NotFound, Invalid):
        return {}
    if results.bundle != bundle:
        return {}
    return {str(row["request"]): dict(row) for row in results.rows}
