"""`dutchdoor custody …`: which keys are here, and which copies are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app import keys
from dutchdoor.app.bundles import bundle_names, find_bundle
from dutchdoor.app.copying import copy_bundle, record_copy, record_destroyed
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import to_iso
from dutchdoor.custody.keyring import load_custodian_key

__all__ = ["app"]

app = typer.Typer(help="Custodians, their keys, and copies of bundles.", no_args_is_help=True)


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


BundleOption = Annotated[
    str | None, typer.Option("--bundle", help="Which bundle; default: the only one.")
]


@app.command("copies")
@command
def copies(
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """List the copies of a bundle that the log knows of, the sealed one itself among them."""
    opened = open_workspace(places_of(workspace))
    rows = opened.copies.known(find_bundle(opened, bundle).digest)
    Output(json_output).data(
        [
            {"copy": row.id, "kind": row.kind, "place": row.place, "made_ms": row.made_ms}
            for row in rows
        ],
        "\n".join(f"{to_iso(r.made_ms)[:10]} {r.kind}: {r.place}  {r.id}" for r in rows)
        or "no copies are known",
    )


@app.command("copy")
@command
def copy(
    to: Annotated[
        Path | None, typer.Option("--to", help="Copy the sealed folder here; it must not exist.")
    ] = None,
    place: Annotated[
        str, typer.Option(help="Where it is, in words; alone: a copy that is made elsewhere.")
    ] = "",
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a copy of a sealed bundle, recorded before it is made, under the decision in force."""
    opened = open_workspace(places_of(workspace))
    found = find_bundle(opened, bundle)
    if to is None:
        row = record_copy(opened, found, place)
    else:
        row = copy_bundle(opened, found, to, place or str(to.resolve()))
    Output(json_output).data(
        {"copy": row.id, "place": row.place}, f"recorded {row.id}: {row.place}"
    )


@app.command("destroyed")
@command
def destroyed(
    copy_id: Annotated[str, typer.Argument(metavar="COPY", help="The copy, copy_….")],
    reason: Annotated[str, typer.Option(help="How it was destroyed; it is recorded.")],
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Record that a copy is gone. Nobody can check that it is: the log says who said so."""
    opened = open_workspace(places_of(workspace))
    record_destroyed(opened, find_bundle(opened, bundle), copy_id, reason)
    Output(json_output).data({"copy": copy_id, "destroyed": True}, f"{copy_id} is gone")
