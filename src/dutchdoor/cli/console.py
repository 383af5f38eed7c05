"""`dutchdoor audit console`: edit an audit's documents in a browser, on this machine."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of

__all__ = ["add_to"]

PORT_DEFAULT = 8401


def add_to(app: typer.Typer) -> None:
    """Add this command to the audit's."""
    app.command("console")(console)


@command
def console(
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1; 0 for a free one.")] = (
        PORT_DEFAULT
    ),
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Edit documents in a browser; log in with the API key of somebody who audits. Ctrl-C ends it.

    It prints its address and answers on this machine alone. Documents are signed with
    `dutchdoor audit sign`: keys never come into a browser.
    """
    places = places_of(workspace)
    Output(json_output).note("the console answers at the address below; Ctrl-C ends it")
    module = [sys.executable, "-m", "dutchdoor.server.console"]
    told = ["--json"] if json_output else []
    ran = subprocess.run(
        [*module, "--workspace", str(places.root), "--port", str(port), *told], check=False
    )
    if ran.returncode:
        raise typer.Exit(ran.returncode)
