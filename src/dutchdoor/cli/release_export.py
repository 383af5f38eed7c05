"""`dutchdoor release export` and `release verify-package`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.exporting import export_package
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.evidence.trust import load_trust
from dutchdoor.release.export.check import check_package

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("export")(export)
    app.command("verify-package")(verify_package)


@command
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that does not exist.")],
    licence: Annotated[
        Path, typer.Option(help="The text of the licence that the decision names for the weights.")
    ],
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="Which bundle; default: the only one.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write the signed package of a model whose decision lets its weights leave, for good."""
    opened = open_workspace(places_of(workspace))
    done = export_package(opened, find_bundle(opened, bundle), folder, licence)
    output = Output(json_output)
    output.data(
        {
            "package": done.id,
            "folder": str(folder),
            "decision": done.decision.id,
            "entry": done.entry,
            "files": list(done.written.files),
            "left_out": list(done.written.left_out),
            "key": done.key.decode(),
        },
        f"exported {done.id} to {folder}: {len(done.written.files)} files\n"
        f"  entry {done.entry} names it; check it with: dutchdoor release verify-package {folder}",
    )
    for name in done.written.left_out:
        output.note(f"left out, not a file of a model: {name}")
    if str(done.decision.level) == "downloadable":
        output.note("who gets it is settled outside this program: it serves no downloads")


@command
def verify_package(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The package.")],
    trust: Annotated[
        Path | None,
        typer.Option(help="The trust.json to check against; default: the workspace's."),
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Check a package offline. Not by the trust.json inside it: that one proves nothing."""
    keys = load_trust(trust) if trust else open_workspace(places_of(workspace)).trust
    found = check_package(folder, keys)
    Output(json_output).data(
        {
            "package": found.id,
            "model": found.model,
            "decision": found.decision.id,
            "level": str(found.decision.level),
            "files": found.files,
            "entry": found.index,
        },
        f"{found.id} of {found.model} holds: {found.files} files as they were signed\n"
        f"  under {found.decision.id} ({found.decision.level}), entry {found.index} of the log\n"
        "  whether that decision is still in force, the log's keeper says",
    )
