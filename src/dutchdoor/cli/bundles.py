"""`dutchdoor init`, `upgrade` and `seal`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress as Bar

from dutchdoor.access.model import Person
from dutchdoor.app.people import ensure_person
from dutchdoor.app.sealing import Choices, SealedModel, default_name, seal_model
from dutchdoor.app.workspace import (
    APPROVALS_MIN_DEFAULT,
    APPROVERS_DEFAULT,
    make_workspace,
    open_workspace,
    upgrade_workspace,
)
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.custody.shares import parse_quorum
from dutchdoor.weights.model import Progress

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("init")(init)
    app.command("upgrade")(upgrade)
    app.command("seal")(seal_command)


@command
def upgrade(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """Bring an older workspace's database to this program's schema; nothing else is touched.

    Stop the server first. All of it happens, or nothing.
    """
    places = places_of(workspace)
    revision = upgrade_workspace(places)
    text = f"{places.database.name} has schema {revision}, this program's"
    Output(json_output).data({"schema": revision}, text)


@command
def init(
    workspace: WorkspaceOption = None,
    origin: Annotated[
        str, typer.Option(help="The log's name, like a URL without a scheme.")
    ] = "dutchdoor.example/workspace",
    approver: Annotated[
        list[str] | None, typer.Option(help="Who may approve decisions; repeat it.")
    ] = None,
    approvals: Annotated[
        int, typer.Option(help="How many approvers a decision takes.")
    ] = APPROVALS_MIN_DEFAULT,
    port: Annotated[int, typer.Option(help="Where the gateway will listen, on loopback.")] = 8400,
    json_output: JsonOption = False,
) -> None:
    """Make a workspace: configuration, policies, keys, and an open log."""
    output = Output(json_output)
    made = make_workspace(
        workspace or Path.cwd(),
        origin=origin,
        approvers=approver or APPROVERS_DEFAULT,
        approvals_min=approvals,
        port=port,
    )
    root = made.places.root
    output.data(
        {"workspace": str(root), "origin": origin, "approvers": approver or APPROVERS_DEFAULT},
        f"workspace made in {root}\nits log is '{origin}'",
    )
    output.note("all keys are in keyring/, which is for trying out: see docs/guides/keys-apart.md")


@command
def seal_command(
    model: Annotated[
        str, typer.Argument(help="A model folder with safetensors, or hf:ORG/NAME[@REVISION].")
    ],
    name: Annotated[
        str | None, typer.Option("--output", "-o", help="The bundle's name; default: the folder's.")
    ] = None,
    custodians: Annotated[
        str, typer.Option(help="The quorum: 2of3 means two of three open together.")
    ] = "2of3",
    custodian: Annotated[
        list[str] | None, typer.Option(help="A custodian's name; repeat it. Default: numbered.")
    ] = None,
    auditor: Annotated[
        list[str] | None, typer.Option(help="Who may run it for the audit; repeat it.")
    ] = None,
    licence: Annotated[
        str, typer.Option(help="The licence that anybody may see, best in SPDX.")
    ] = "",
    show_tensors: Annotated[
        bool, typer.Option(help="Let anybody see names and shapes of the tensors.")
    ] = False,
    resume: Annotated[bool, typer.Option(help="Go on with what was broken off.")] = False,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Seal a model folder into a bundle, born under a decision at level fully closed."""
    output = Output(json_output)
    opened = open_workspace(places_of(workspace))
    threshold, count = parse_quorum(custodians)
    names = custodian or [f"custodian-{number}" for number in range(1, count + 1)]
    people = [ensure_person(opened, person, "auditor") for person in auditor or ["auditor"]]
    with Bar(console=output.err, transient=True, disable=not output.err.is_terminal) as bar:
        task = bar.add_task("sealing", total=None)

        def report(progress: Progress) -> None:
            bar.update(task, completed=progress.done_bytes, total=progress.total_bytes)

        sealed = seal_model(
            opened,
            model,
            (name or default_name(model)).removesuffix(".sealed"),
            quorum=(threshold, count),
            custodians=names,
            auditors=people,
            choices=Choices(licence, show_tensors, resume),
            report=report,
        )
    _say(output, sealed, names, threshold, people)


def _say(
    output: Output,
    sealed: SealedModel,
    names: list[str],
    threshold: int,
    people: Sequence[Person],
) -> None:
    born = sealed.born
    bundle = born.bundle
    output.data(
        {
            "bundle": bundle.digest,
            "name": bundle.name,
            "path": str(bundle.path),
            "sealed_bytes": bundle.manifest.sealed_bytes,
            "custodians": names,
            "threshold": threshold,
            "origin": bundle.manifest.content.public.origin,
            "decision": born.decision.id,
            "level": str(born.decision.level),
            "auditors": [{"id": person.id, "name": person.name} for person in people],
        },
        f"sealed {bundle.name} for {', '.join(names)}; {threshold} of them open it together\n"
        f"  {bundle.digest}\n"
        f"born under {born.decision.id} at level fully closed; only "
        f"{', '.join(person.name for person in people)} may run it",
    )
    if sealed.hub is None:
        output.note(
            "the plaintext folder is no longer needed; nothing here was written in plaintext"
        )
    else:
        left = ", ".join(sealed.hub.left_out[:5]) or "nothing"
        output.note(f"the fetched files are removed; left at the hub: {left}")
