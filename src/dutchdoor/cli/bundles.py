"""`dutchdoor init`, `seal`, `inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress as Bar

from dutchdoor.app.bundles import find_bundle, seal
from dutchdoor.app.people import ensure_person
from dutchdoor.app.workspace import (
    APPROVALS_MIN_DEFAULT,
    APPROVERS_DEFAULT,
    make_workspace,
    open_workspace,
)
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import to_iso
from dutchdoor.custody.shares import parse_quorum
from dutchdoor.errors import Tampered
from dutchdoor.weights.inspect import inspect_bundle, verify_ciphertext
from dutchdoor.weights.model import Progress

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("init")(init)
    app.command("seal")(seal_command)
    app.command("inspect")(inspect)


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
    model: Annotated[Path, typer.Argument(help="A model folder: safetensors, config, tokenizer.")],
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

        born = seal(
            opened,
            model,
            (name or model.resolve().name).removesuffix(".sealed"),
            quorum=(threshold, count),
            custodians=names,
            auditors=people,
            report=report,
        )
    bundle = born.bundle
    output.data(
        {
            "bundle": bundle.digest,
            "name": bundle.name,
            "path": str(bundle.path),
            "sealed_bytes": bundle.manifest.sealed_bytes,
            "custodians": names,
            "threshold": threshold,
            "decision": born.decision.id,
            "level": str(born.decision.level),
            "auditors": [{"id": person.id, "name": person.name} for person in people],
        },
        f"sealed {bundle.name} for {', '.join(names)}; {threshold} of them open it together\n"
        f"  {bundle.digest}\n"
        f"born under {born.decision.id} at level fully closed; only "
        f"{', '.join(person.name for person in people)} may run it",
    )
    output.note("the plaintext folder is no longer needed; nothing here was written in plaintext")


@command
def inspect(
    bundle: Annotated[str | None, typer.Argument(help="The bundle's name.")] = None,
    full: Annotated[bool, typer.Option(help="Check every byte of the ciphertext.")] = False,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show what a sealed bundle says of itself, and check it, without any key."""
    output = Output(json_output)
    opened = open_workspace(places_of(workspace))
    found = find_bundle(opened, bundle)
    inspection = inspect_bundle(found.path, opened.trust.holder)
    changes = inspection.changes
    if full:
        changes = changes + verify_ciphertext(found.path, opened.trust.holder)
    manifest = inspection.manifest
    value = {
        "bundle": inspection.digest,
        "model": manifest.content.model,
        "sealed_ms": manifest.created_ms,
        "files": len(manifest.content.files),
        "sealed_bytes": manifest.sealed_bytes,
        "threshold": manifest.custody.threshold,
        "custodians": list(manifest.custody.custodians),
        "checked": "every byte" if full else "signature, sizes, heads",
        "changes": [
            {"file": c.file, "offset": c.offset, "bytes": c.size, "what": c.what} for c in changes
        ],
    }
    lines = [
        (
            f"{manifest.content.model}: {len(manifest.content.files)} sealed files, "
            f"{manifest.sealed_bytes} bytes"
        ),
        f"  {inspection.digest}",
        (
            f"  sealed {to_iso(manifest.created_ms)}; "
            f"{manifest.custody.threshold} of {len(manifest.custody.custodians)} custodians open it"
        ),
        f"  checked: {value['checked']}: {'CHANGED' if changes else 'unchanged'}",
    ]
    lines += [f"  changed: {c.file} at byte {c.offset}: {c.what}" for c in changes]
    output.data(value, "\n".join(lines))
    if changes:
        message = f"the bundle was changed in {len(changes)} places"
        hint = "fetch it again from where it was published"
        raise Tampered(message, code="bundle_changed", hint=hint, where=changes[0].file)
