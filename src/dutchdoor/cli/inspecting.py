"""`dutchdoor inspect`: what anybody may know of a sealed bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import to_iso
from dutchdoor.errors import Tampered
from dutchdoor.evidence.trust import load_trust
from dutchdoor.weights.inspect import inspect_bundle, verify_ciphertext
from dutchdoor.weights.model import Change, Manifest

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    app.command("inspect")(inspect)


@command
def inspect(
    bundle: Annotated[str | None, typer.Argument(help="The bundle's name, or its folder.")] = None,
    full: Annotated[bool, typer.Option(help="Check every byte of the ciphertext.")] = False,
    tensors: Annotated[bool, typer.Option(help="List the tensors, where they are shown.")] = False,
    trust: Annotated[
        Path | None, typer.Option(help="The holder's trust.json, where there is no workspace.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show what a sealed bundle says of itself, and check it, without any key."""
    output = Output(json_output)
    folder = Path(bundle) if bundle is not None else None
    if trust is not None and folder is not None:
        holders = load_trust(trust).holder
    else:
        opened = open_workspace(places_of(workspace))
        holders = opened.trust.holder
        if folder is None or not (folder.suffix == ".sealed" and folder.is_dir()):
            folder = find_bundle(opened, bundle).path
    inspection = inspect_bundle(folder, holders)
    changes = inspection.changes
    if full:
        changes = changes + verify_ciphertext(folder, holders)
    manifest = inspection.manifest
    checked = "every byte" if full else "signature, sizes, heads"
    output.data(
        _value(manifest, changes, checked), "\n".join(_lines(manifest, changes, checked, tensors))
    )
    if changes:
        message = f"the bundle was changed in {len(changes)} places"
        hint = "fetch it again from where it was published"
        raise Tampered(message, code="bundle_changed", hint=hint, where=changes[0].file)


def _value(manifest: Manifest, changes: tuple[Change, ...], checked: str) -> dict[str, Any]:
    content = manifest.content
    table = content.public.tensors
    return {
        "bundle": manifest.digest,
        "model": content.model,
        "format": content.version,
        "licence": content.public.licence,
        "origin": content.public.origin,
        "decision": manifest.decision,
        "parameters": content.public.parameters,
        "tensors": None
        if table is None
        else [{"name": t.name, "dtype": t.dtype, "shape": list(t.shape)} for t in table],
        "sealed_ms": manifest.created_ms,
        "files": len(content.files),
        "sealed_bytes": manifest.sealed_bytes,
        "threshold": manifest.custody.threshold,
        "custodians": list(manifest.custody.custodians),
        "checked": checked,
        "changes": [
            {"file": c.file, "offset": c.offset, "bytes": c.size, "what": c.what} for c in changes
        ],
    }


def _lines(
    manifest: Manifest, changes: tuple[Change, ...], checked: str, tensors: bool
) -> list[str]:
    content, public = manifest.content, manifest.content.public
    lines = [
        f"{content.model}: {len(content.files)} sealed files, {manifest.sealed_bytes} bytes",
        f"  {manifest.digest}",
    ]
    said = (
        ("licence", public.licence),
        ("from", public.origin),
        ("published with", manifest.decision),
    )
    lines += [f"  {name}: {text}" for name, text in said if text]
    if public.tensors is None:
        lines.append("  tensors: not shown by the holder")
    else:
        lines.append(f"  tensors: {len(public.tensors)}, {public.parameters} numbers")
        if tensors:
            lines += [f"    {t.name}  {t.dtype}  {list(t.shape)}" for t in public.tensors]
    custody = manifest.custody
    lines += [
        (
            f"  sealed {to_iso(manifest.created_ms)}; "
            f"{custody.threshold} of {len(custody.custodians)} custodians open it"
        ),
        f"  checked: {checked}: {'CHANGED' if changes else 'unchanged'}",
    ]
    return lines + [f"  changed: {c.file} at byte {c.offset}: {c.what}" for c in changes]
