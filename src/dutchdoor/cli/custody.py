"""`dutchdoor custody …`: its commands by file, and the copies of bundles that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.copying import check_in, copy_bundle, record_copy, record_destroyed
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli import ceremonies, custody_changes, custody_keys, granting
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import to_iso

__all__ = ["app"]

app = typer.Typer(help="Custodians, their keys, and copies of bundles.", no_args_is_help=True)


custody_keys.register(app)
ceremonies.register(app)
granting.register(app)
custody_changes.register(app)


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
    """List the copies of a bundle that the log knows of, the sealed one itself among them.

    Exit code 1 where one was seen that nobody had recorded, or nobody looked at one for too long.
    """
    opened, output = open_workspace(places_of(workspace)), Output(json_output)
    rows, now_ms = opened.copies.known(find_bundle(opened, bundle).digest), opened.clock.now_ms()
    alarming = [row for row in rows if row.kind == "unknown" or row.lost(now_ms)]
    output.data(
        [
            {
                "copy": row.id,
                "kind": row.kind,
                "place": row.place,
                "made_ms": row.made_ms,
                "seen_ms": row.seen_ms,
                "known": row.kind != "unknown",
                "lost": row.lost(now_ms),
            }
            for row in rows
        ],
        "\n".join(
            ("ALERT " if row in alarming else "")
            + f"{to_iso(row.made_ms)[:10]} {row.kind}: {row.place}  {row.id}"
            + ("" if row.kind == "package" else f", seen {to_iso(row.seen_ms)[:10]}")
            for row in rows
        )
        or "no copies are known",
    )
    if alarming:
        output.note(
            "look for each ALERT: it was seen and never recorded, or not seen for a quarter"
        )
        raise typer.Exit(1)


@app.command("check-in")
@command
def check_in_copy(
    folder: Annotated[Path, typer.Argument(help="The sealed folder of the copy.")],
    copy_id: Annotated[
        str, typer.Option("--copy", help="Its id, as 'custody copies' lists it.")
    ] = "",
    place: Annotated[str, typer.Option(help="Where it is, in words; default: the path.")] = "",
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Look at a copy where it lies, and record that it was seen. Exit code 1: nobody knew of it."""
    opened, output = open_workspace(places_of(workspace)), Output(json_output)
    row = check_in(opened, find_bundle(opened, bundle), folder, copy_id, place)
    known = row.kind != "unknown"
    output.data(
        {"copy": row.id, "place": row.place, "known": known},
        f"seen: {row.place}  {row.id}" if known else f"ALERT unknown copy: {row.place}  {row.id}",
    )
    if not known:
        output.note("it counts as a copy from now on; where it is gone: custody destroyed COPY")
        raise typer.Exit(1)


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
