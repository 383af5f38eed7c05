"""`dutchdoor release practice` and `moderation`: adopt or explain, and the guard's data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.practice import check_practice, export_guard_data, write_practice
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.release.practice.model import Row, Status

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to the release's."""
    app.command("practice")(practice)
    app.command("moderation")(moderation)


@command
def practice(
    write: Annotated[
        bool, typer.Option("--write", help="Write practice/: the page, and templates to fill in.")
    ] = False,
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="Which bundle; default: the only one.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Hold the ten recommendations of good practice against what this workspace shows.

    Exit code 1 where a claim is contradicted.
    """
    opened = open_workspace(places_of(workspace))
    found = check_practice(opened, bundle)
    written = write_practice(opened, found) if write else ()
    output = Output(json_output)
    output.data(
        {
            "bundle": found.facts.bundle,
            "commitments": found.practice.commitments_digest,
            "items": [
                {
                    "name": row.recommendation.name,
                    "status": str(row.status),
                    "claim": str(row.claim),
                    "why": row.why,
                    "shown": str(row.look.shown),
                    "evidence": list(row.look.evidence),
                }
                for row in found.rows
            ],
            "written": [str(path) for path in written],
        },
        "\n".join(_line(number, row) for number, row in enumerate(found.rows, 1)),
    )
    for path in written:
        output.note(f"wrote {path}")
    if any(row.status is Status.CONTRADICTED for row in found.rows):
        raise typer.Exit(1)


@command
def moderation(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or a new folder.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Export the guard's rules and labelled prompts, for others to build moderation with."""
    index = export_guard_data(open_workspace(places_of(workspace)), folder)
    names = ", ".join(row["file"] for row in index["files"])
    Output(json_output).data(
        {"folder": str(folder), **index},
        f"wrote {names} to {folder}\n  rules {index['rules']}, prompts {index['prompts']}\n"
        "  read DATA_CARD.md before you publish it; nothing that people asked is in it",
    )


def _line(number: int, row: Row) -> str:
    head = f"{number}. {row.status}: {row.recommendation.text} (claimed: {row.claim})"
    return "\n".join([head, *(f"     {text}" for text in row.look.evidence)])
