"""`dutchdoor audit …`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.dues import dues_of
from dutchdoor.app.governance import collect as collect_artifacts
from dutchdoor.app.governance import find_audit, signer_of, start_audit
from dutchdoor.app.workspace import open_workspace
from dutchdoor.audit.documents.people import clocks
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import AuditStatus, DocumentKind, FindingStatus, Scale
from dutchdoor.audit.view import write_view
from dutchdoor.cli import amending, auditors, console, documents, evaluating
from dutchdoor.cli.audit_signers import next_signers, signer_lines
from dutchdoor.cli.audit_times import clock_lines, clock_values, due_lines, due_values
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.cli.outputs import outputs
from dutchdoor.errors import Invalid

__all__ = ["app", "status_lines"]

app = typer.Typer(
    help="The internal audit: documents, evaluations, sign-off.", no_args_is_help=True
)

evaluating.add_to(app)
amending.add_to(app)
documents.add_to(app)
auditors.add_to(app)
console.add_to(app)

AuditOption = Annotated[
    str | None, typer.Option("--audit", help="Which audit; default: the latest.")
]
AsOption = Annotated[str, typer.Option("--as", help="Whose key signs, from the keyring.")]

app.command("outputs")(outputs)


@app.command("start")
@command
def start(
    auditor: Annotated[str, typer.Option(help="Who audits: a person in audience auditor.")],
    bundle: Annotated[str | None, typer.Option(help="Which bundle; default: the only one.")] = None,
    objective: Annotated[str, typer.Option(help="What is to be found out.")] = "",
    full: Annotated[
        bool, typer.Option("--full", help="Every document of the method; default: five.")
    ] = False,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Start an audit: its documents are made from templates, to be read, edited and signed."""
    opened = open_workspace(places_of(workspace))
    person = opened.access.find_person(auditor)
    scale = Scale.FULL if full else Scale.SHORT
    audit = start_audit(opened, find_bundle(opened, bundle), person.name, objective, scale)
    Output(json_output).data(
        {"audit": audit.subject.audit, "folder": str(audit.path), "next": audit.status().next},
        f"started {audit.subject.audit}\n  its documents: {audit.path}\n"
        f"  next: {audit.status().next}",
    )


@app.command("status")
@command
def status(
    audit: AuditOption = None, workspace: WorkspaceOption = None, json_output: JsonOption = False
) -> None:
    """Show where every document stands, both clocks, what was found, what is due, what to do."""
    opened = open_workspace(places_of(workspace))
    found = find_audit(opened, audit)
    now = found.status()
    times = clocks(AuditFolder(found.path), found.subject, opened.trust)
    dues, trouble = dues_of(opened, found.subject.bundle)
    signs = next_signers(found, opened.trust)
    lines = [*status_lines(now), *signer_lines(found, signs)]
    lines += [*clock_lines(times), *due_lines(dues, trouble)]
    value = {**_status_value(now), "clocks": clock_values(times), "dues": due_values(dues)}
    value["signs_next"] = {str(kind): list(roles) for kind, roles in signs.items()}
    if trouble:
        value["dues_trouble"] = trouble
    Output(json_output).data(value, "\n".join(lines))


@app.command("collect")
@command
def collect(
    audit: AuditOption = None, workspace: WorkspaceOption = None, json_output: JsonOption = False
) -> None:
    """Fill the artifact checklist from what went into the bundle."""
    opened = open_workspace(places_of(workspace))
    found = find_audit(opened, audit)
    collect_artifacts(opened, found)
    Output(json_output).data(
        {"audit": found.subject.audit, "next": found.status().next},
        f"collected the artifacts\n  next: {found.status().next}",
    )


@app.command("settle")
@command
def settle(
    finding: Annotated[str, typer.Argument(help="The finding's id.")],
    reason: Annotated[str, typer.Option(help="Why it is accepted, or what mitigates it.")],
    by: Annotated[str, typer.Option(help="Who says so.")],
    mitigated: Annotated[
        bool, typer.Option("--mitigated/--accepted", help="Mitigated, or accepted as it is.")
    ] = False,
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Settle a finding: accept it with a reason, or say what mitigates it."""
    found = find_audit(open_workspace(places_of(workspace)), audit)
    chosen = FindingStatus.MITIGATED if mitigated else FindingStatus.ACCEPTED
    found.settle(finding, chosen, reason, by)
    Output(json_output).data(
        {"finding": finding, "status": str(chosen)}, f"{finding} is {chosen}: {reason}"
    )


@app.command("report")
@command
def report(
    audit: AuditOption = None, workspace: WorkspaceOption = None, json_output: JsonOption = False
) -> None:
    """Fill the summary report from the signed documents, and say where it is."""
    found = find_audit(open_workspace(places_of(workspace)), audit)
    path = found.report()
    Output(json_output).data({"report": str(path)}, str(path))


@app.command("view")
@command
def view(
    text: Annotated[str, typer.Argument(help="The auditor's view, in their own words.")],
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write the auditor's view into the summary report; without one it cannot be signed."""
    found = find_audit(open_workspace(places_of(workspace)), audit)
    path = write_view(found, text)
    Output(json_output).data(
        {"report": str(path), "next": found.status().next},
        f"your view is in {path}\n  next: {found.status().next}",
    )


@app.command("sign")
@command
def sign(
    signer: AsOption,
    documents: Annotated[
        list[str] | None, typer.Argument(help="Documents, for instance S2; default: all ready.")
    ] = None,
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Sign documents as they are now; a signed document that is changed is open again."""
    opened = open_workspace(places_of(workspace))
    found = find_audit(opened, audit)
    signed = found.sign(signer_of(opened, signer), [_kind(name) for name in documents or []])
    names = [str(kind) for kind in signed]
    Output(json_output).data(
        {"signed": names, "by": signer, "next": found.status().next},
        f"{signer} signed {', '.join(names)}\n  next: {found.status().next}",
    )


@app.command("complete")
@command
def complete(
    signer: AsOption,
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Sign the summary, record it, and close the audit."""
    opened = open_workspace(places_of(workspace))
    found = find_audit(opened, audit)
    summary = found.complete(signer_of(opened, signer), opened.record)
    Output(json_output).data(
        {"audit": summary.audit, "bundle": summary.bundle, "summary": summary.digest},
        f"completed {summary.audit}\n  its signed summary: {summary.digest}",
    )


def status_lines(status: AuditStatus) -> list[str]:
    """An audit's status as lines for a person."""
    lines = [f"{status.audit} ({status.scale}): {status.model}, by {status.auditor}"]
    lines += [
        f"  {row.kind} {row.title}: {row.state}{f' ({row.because})' if row.because else ''}"
        for row in status.documents
    ]
    lines += [
        f"  finding {finding.id} ({finding.severity}, {finding.status}): {finding.text}"
        for finding in status.findings
    ]
    return [*lines, f"  next: {status.next}"]


def _status_value(status: AuditStatus) -> dict[str, Any]:
    return {
        "audit": status.audit,
        "bundle": status.bundle,
        "model": status.model,
        "auditor": status.auditor,
        "scale": str(status.scale),
        "documents": [
            {
                "kind": str(row.kind),
                "title": row.title,
                "file": row.file,
                "digest": row.digest,
                "state": str(row.state),
                "because": row.because,
            }
            for row in status.documents
        ],
        "findings": [finding.to_body() for finding in status.findings],
        "completed": status.completed,
        "summary": status.summary,
        "next": status.next,
    }


def _kind(name: str) -> DocumentKind:
    try:
        return DocumentKind(name.upper())
    except ValueError as error:
        known = ", ".join(str(kind) for kind in DocumentKind)
        message = f"no document '{name}'"
        raise Invalid(message, code="no_document", hint=f"there are: {known}") from error
