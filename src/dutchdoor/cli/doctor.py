"""`dutchdoor doctor`: what this host gives, and what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import typer

from dutchdoor.app.doctor import Finding, examine, examine_workspace
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.errors import NotFound

__all__ = ["register"]

MARKS = {True: "yes", False: "no", None: "-"}
TITLES = {
    "hardening": "what a runtime puts on here",
    "keys": "where keys lie",
    "host": "the host",
    "egress": "how long the weights take to leave through the door",
}


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command("doctor")(doctor)


@command
def doctor(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """Say what this host gives: each protection tried, each missing one explained.

    In a workspace also how long its bundles would take to leave at the rate that was decided.
    """
    output = Output(json_output)
    try:
        opened = open_workspace(places_of(workspace))
    except NotFound:
        if workspace is not None:
            raise
        found = examine()
    else:
        found = (*examine(opened.config), *examine_workspace(opened))
    output.data([asdict(row) for row in found], _text(found))


def _text(found: Sequence[Finding]) -> str:
    lines: list[str] = []
    group = ""
    for row in found:
        if row.group != group:
            group = row.group
            lines.append(f"{TITLES[group]}:")
        lines.append(f"  {MARKS[row.there]:3}  {row.name:19} {row.what}")
        if row.why:
            lines.append(f"       {'':19} missing: {row.why}")
        if row.hint:
            lines.append(f"       {'':19} to do: {row.hint}")
    return "\n".join(lines)
