"""`dutchdoor selftest`: the attacks that give weights away, run against the running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.running import find_running
from dutchdoor.app.selftest import (
    ERROR_MIN,
    Outcome,
    RouteFound,
    Selftest,
    control,
    error_at_least,
    last_tap,
)
from dutchdoor.audit.evaluations.door import Door
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.errors import Invalid, NotFound, Unavailable

__all__ = ["register"]

KEY_BYTES_MAX = 1_024
SPEND_DEFAULT = 8


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command("selftest")(selftest)


@command
def selftest(
    key: Annotated[
        list[Path], typer.Option(help="A file with an API key; several people give several.")
    ],
    spend: Annotated[
        int, typer.Option(min=1, help="Vectors that may be spent, for ever.")
    ] = SPEND_DEFAULT,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Attack the running server as people with these keys could, and say what leaked.

    Every route is tried once, then the last layer and least squares, by the first of them alone and
    by all of them together. What is spent comes out of the pool for everybody.
    """
    output = Output(json_output)
    running = find_running(places_of(workspace))
    doors = [Door(f"{running.url}/v1", running.model, _read(path)) for path in key]
    me = doors[0].get("/dutchdoor/me")
    pool = me.body.get("vectors") or {}
    hidden, allowed = int(pool.get("hidden", 0)), int(pool.get("allowed", 0))
    if me.status != 200 or hidden < 1:
        message = "the server does not say how wide its model is"
        raise Unavailable(message, code="not_running", hint="see 'dutchdoor status'")
    ours = control()
    output.note(
        f"control, a layer of our own with nobody counting: h = {ours.hidden} read off, "
        f"error {ours.error:.0e}"
    )
    attack = Selftest(doors, hidden, spend_max=spend, tap=last_tap(doors[0]))
    routes = attack.routes(lambda row: output.note(_told(row)))
    outcomes = [attack.attack(people) for people in sorted({1, len(doors)})]
    least = error_at_least(allowed, hidden)
    bad = _wrong(routes, outcomes, allowed, hidden)
    output.data(
        {
            "routes": [{**row._asdict(), "holds": row.holds} for row in routes],
            "attacks": [{**row._asdict(), "refused": list(row.refused)} for row in outcomes],
            "control": {"hidden": ours.hidden, "error": ours.error, "unseen": ours.unseen},
            "allowed": allowed,
            "hidden": hidden,
            "error_at_the_end_of_the_pool": least,
            "wrong": bad,
        },
        "\n".join(
            [
                *(_outcome(row) for row in outcomes),
                f"the pool ends at {allowed} of {hidden}: the error is then at least {least:.2f}",
                *bad,
                "it does not hold" if bad else "it holds",
            ]
        ),
    )
    if bad:
        raise Invalid(bad[0], code="selftest_failed", hint="see docs/security/extraction.md")


def _wrong(
    routes: list[RouteFound], outcomes: list[Outcome], allowed: int, hidden: int
) -> list[str]:
    found = [
        f"{row.name}: gave {row.given} numbers and counted {row.counted}"
        for row in routes
        if not row.holds
    ]
    for row in outcomes:
        if row.hidden is not None:
            found.append(f"{row.people} people read the hidden size off: {row.hidden}")
        if row.error <= ERROR_MIN:
            found.append(f"{row.people} people know the last layer to {row.error:.2f}")
    if error_at_least(allowed, hidden) <= ERROR_MIN:
        found.append(f"the decision allows {allowed} of {hidden} vectors, too many for {ERROR_MIN}")
    return found


def _told(row: RouteFound) -> str:
    return f"{row.name}: {row.answer}; gave {row.given} numbers, counted {row.counted}"


def _outcome(row: Outcome) -> str:
    people = "one person" if row.people == 1 else f"{row.people} people together"
    read = "not revealed" if row.hidden is None else f"read off: {row.hidden}"
    return (
        f"{people}: {row.rows} rows for {row.counted} vectors; hidden size {read}; error of the "
        f"last layer at least {row.error:.2f}; a map fitted by least squares misses unseen rows by "
        f"{row.unseen:.2f}"
    )


def _read(path: Path) -> str:
    try:
        with path.open() as file:
            return file.read(KEY_BYTES_MAX).strip()
    except OSError as error:
        message = f"{path} cannot be read"
        hint = "make one with 'dutchdoor people key NAME --out FILE'"
        raise NotFound(message, code="no_key_file", hint=hint) from error
