"""`dutchdoor custody …`: which keys are here."""

from __future__ import annotations

from typing import Annotated

import typer

from dutchdoor.app import keys
from dutchdoor.app.bundles import bundle_names, find_bundle
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.custody.keyring import load_custodian_key

__all__ = ["app"]

app = typer.Typer(help="Custodians and their keys.", no_args_is_help=True)


@app.command("add")
@command
def add(
    name: Annotated[str, typer.Argument(help="The custodian's name.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a custodian's key here. Its public line is what bundles are sealed to."""
    opened = open_workspace(places_of(workspace))
    public = keys.ensure_custodian(opened.places, name)
    path = keys.custodian_path(opened.places, name)
    Output(json_output).data(
        {"custodian": name, "key": public.key_id, "public": str(path.with_suffix(".pub"))},
        f"{name}: {public.key_id}\n  private key: {path}",
    )


@app.command("list")
@command
def list_custodians(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """List the custodians' private keys present here, and what they open together."""
    opened = open_workspace(places_of(workspace))
    present = {
        load_custodian_key(keys.custodian_path(opened.places, name)).key_id: name
        for name in keys.custodian_names(opened.places)
    }
    rows, lines = [], [f"{name}: {key_id}" for key_id, name in present.items()]
    for name in bundle_names(opened.places):
        custody = find_bundle(opened, name).manifest.custody
        here = [present[key_id] for key_id in custody.custodians if key_id in present]
        quorum = len(here) >= custody.threshold
        rows.append(
            {
                "bundle": name,
                "threshold": custody.threshold,
                "custodians": list(custody.custodians),
                "present": here,
                "quorum_present": quorum,
            }
        )
        lines.append(
            f"bundle {name}: {custody.threshold} of {len(custody.custodians)} needed, "
            f"{len(here)} present here" + (" (a quorum)" if quorum else "")
        )
    Output(json_output).data(rows, "\n".join(lines) or "no custodians here yet")
