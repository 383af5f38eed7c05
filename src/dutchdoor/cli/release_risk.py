"""`dutchdoor release worksheet …` and `dutchdoor release estimate`."""

from __future__ import annotations

from typing import Annotated

import typer

from dutchdoor.app.governance import find_audit
from dutchdoor.app.risk import (
    Changes,
    check_worksheet,
    make_estimate,
    must_fit,
    name_in_proposal,
    new_assumptions,
    new_worksheet,
    worksheet_evidence,
    write_estimate,
)
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.errors import Invalid
from dutchdoor.evidence.openness import Level
from dutchdoor.release.risk.page import estimate_lines

__all__ = ["register"]

worksheet = typer.Typer(
    help="The worksheet of marginal risk: what more harm than there is already.",
    no_args_is_help=True,
)

AuditOption = Annotated[
    str | None, typer.Option("--audit", help="Which audit; default: the latest.")
]


@worksheet.command("make")
@command
def make(
    level: Annotated[str, typer.Option(help="The level that is asked about.")] = "cloud_api",
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a worksheet to write in: six steps for each threat and actor, with their questions."""
    opened = open_workspace(places_of(workspace))
    path = new_worksheet(opened, find_audit(opened, audit), _level(level))
    text = f"read and write {path}\nwhat is left: dutchdoor release worksheet check"
    Output(json_output).data({"worksheet": str(path)}, text)


@worksheet.command("check")
@command
def check(
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say all that is missing or wrong in the worksheet; exit 1 where something is."""
    opened = open_workspace(places_of(workspace))
    problems = check_worksheet(opened, find_audit(opened, audit))
    value = [row._asdict() for row in problems]
    lines = [row.line() for row in problems]
    done = "the worksheet is complete; whether it is right is for people to judge"
    Output(json_output).data(value, "\n".join(lines) or done)
    if problems:
        raise typer.Exit(1)


@worksheet.command("evidence")
@command
def evidence(
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """List what of the audit a worksheet can point at, as lines to paste into it."""
    opened = open_workspace(places_of(workspace))
    items = worksheet_evidence(find_audit(opened, audit))
    Output(json_output).data(
        [{**row._asdict(), "kind": str(row.kind)} for row in items],
        "\n".join(
            f"- {{{row.kind}: '{row.name}', digest: '{row.digest}'}}\n    {row.says}"
            for row in items
        )
        or "the audit has nothing to point at yet",
    )


@command
def estimate(
    new: Annotated[
        bool, typer.Option("--new", help="Write the assumptions to begin with, and stop.")
    ] = False,
    level: Annotated[
        str | None, typer.Option(help="The level that is asked about; default: the file's.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="In place of the file's.")] = None,
    proposal: Annotated[
        str | None,
        typer.Option(
            help="Name the estimate, its assumptions and the worksheet in this proposal, by digest."
        ),
    ] = None,
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Estimate risk and benefit at each level, as ranges, from release/assumptions.yaml."""
    output = Output(json_output)
    opened = open_workspace(places_of(workspace))
    if new:
        path = new_assumptions(opened)
        text = f"edit {path}: every figure in it is made up\nthen: dutchdoor release estimate"
        output.data({"assumptions": str(path)}, text)
        return
    found = find_audit(opened, audit)
    made = make_estimate(opened, found, Changes(seed, _level(level) if level else None))
    if proposal is not None:
        must_fit(opened, found, proposal, made)
    page = write_estimate(opened, made)
    if proposal is not None:
        name_in_proposal(opened, found, proposal, made)
    value = {"digest": made.digest, "page": str(page), "estimate": made.body}
    lines = [estimate_lines(made.body), "", f"drawings: {page}", f"digest: {made.digest}"]
    if proposal is not None:
        lines.append(f"named in {proposal}; approvals given before are void")
    output.data(value, "\n".join(lines))
    for note in made.body["notes"]:
        output.note(f"note: {note}")


def register(app: typer.Typer) -> None:
    """Makes these commands of `dutchdoor release`."""
    app.add_typer(worksheet, name="worksheet")
    app.command("estimate")(estimate)


def _level(word: str) -> Level:
    try:
        return Level(word)
    except ValueError as error:
        hint = "known: " + ", ".join(Level)
        raise Invalid(f"no level '{word}'", code="unknown_level", hint=hint) from error
