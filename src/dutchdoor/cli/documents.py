"""`dutchdoor audit risks`, `coverage` and `export`: what follows from documents, and who reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dutchdoor.app.governance import find_audit
from dutchdoor.app.reading import reader_of
from dutchdoor.app.workspace import open_workspace
from dutchdoor.audit.documents.reading import front_of, rows
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of

__all__ = ["add_to"]

AuditOption = Annotated[
    str | None, typer.Option("--audit", help="Which audit; default: the latest.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the audit's."""
    app.command("risks")(risks)
    app.command("coverage")(coverage)
    app.command("export")(export)


@command
def risks(
    audit: AuditOption = None, workspace: WorkspaceOption = None, json_output: JsonOption = False
) -> None:
    """Derive the risk chart and the priorities of failures of a full audit, and show them."""
    found = find_audit(open_workspace(places_of(workspace)), audit)
    changed = found.derive()
    folder = AuditFolder(found.path)
    charted = rows(front_of(folder, DocumentKind.T3), "risks")
    last, first = (front_of(folder, kind) for kind in (DocumentKind.R1, DocumentKind.M5))
    failed = rows(last, "failures") or rows(first, "failures")
    lines = [f"derived anew: {', '.join(changed) or 'nothing'}"]
    lines += [
        f"  {row['rating']}: {row['id']} {row['impact']} ({row['group']}); {row['severity']}, "
        f"{row['likelihood']}, failed {row['failed']} of {row['tried']}"
        for row in charted
    ]
    lines += [f"  failure {_failure(row)}" for row in failed]
    Output(json_output).data(
        {"derived": [str(kind) for kind in changed], "risks": charted, "failures": failed},
        "\n".join(lines),
    )


@command
def coverage(
    audit: AuditOption = None, workspace: WorkspaceOption = None, json_output: JsonOption = False
) -> None:
    """Show which principles, harms, groups and failures no test is about, and whom nobody asked."""
    gaps = find_audit(open_workspace(places_of(workspace)), audit).coverage().gaps()
    lines = [f"{name} without: {', '.join(ids) or 'none'}" for name, ids in gaps.items()]
    Output(json_output).data({name: list(ids) for name, ids in gaps.items()}, "\n".join(lines))


@command
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An empty or a new folder.")],
    reader: Annotated[
        str | None,
        typer.Option("--for", help="For whom: a person here; default: the public."),
    ] = None,
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write the signed documents that somebody may read; of the others title and digest."""
    opened = open_workspace(places_of(workspace))
    found = find_audit(opened, audit)
    person = None if reader is None else opened.access.find_person(reader)
    who = reader_of(opened, found, person)
    exported = found.export(folder, who)
    roles = ", ".join(sorted(who.roles)) or "none"
    lines = [f"for {who.name}; roles in this audit: {roles}"]
    lines += [
        f"  {row.kind} {'written' if row.written else f'left out: {row.why}'}: {row.file}"
        f"{f' ({row.rule})' if row.rule else ''}"
        for row in exported
    ]
    listed = [{**row._asdict(), "kind": str(row.kind)} for row in exported]
    value = {"folder": str(folder), "for": who.name, "roles": sorted(who.roles)}
    Output(json_output).data({**value, "documents": listed}, "\n".join(lines))


def _failure(row: dict[str, Any]) -> str:
    scores = " x ".join(str(row.get(name)) for name in ("severity", "occurrence", "detection"))
    status = row.get("status", "not yet looked at again")
    return f"{row.get('id')} {row.get('mode')}: {row.get('priority')} ({scores}), {status}"
