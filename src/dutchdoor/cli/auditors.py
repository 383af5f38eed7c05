"""`dutchdoor audit people`, `interview` and `dissent`: who acts in an audit, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.governance import find_audit, signer_of
from dutchdoor.app.workspace import Workspace, open_workspace
from dutchdoor.audit.folder import AuditFolder
from dutchdoor.audit.model import DocumentKind
from dutchdoor.audit.notes import add_dissent, add_interview
from dutchdoor.audit.people import (
    Member,
    People,
    Role,
    load_people,
    must_be_apart,
    write_people,
)
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.statement import key_id

__all__ = ["add_to"]

AuditOption = Annotated[
    str | None, typer.Option("--audit", help="Which audit; default: the latest.")
]

people = typer.Typer(help="Who acts in an audit, and in which role.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the audit's."""
    app.add_typer(people, name="people")
    app.command("interview")(interview)
    app.command("dissent")(dissent)


@people.command("add")
@command
def add(
    name: Annotated[str, typer.Argument(help="Their name in the audit.")],
    roles: Annotated[list[str], typer.Option("--role", help=f"One of: {', '.join(Role)}.")],
    key: Annotated[
        str, typer.Option(help="The key they sign with: ed25519:…, or its name in the keyring.")
    ] = "",
    person: Annotated[str, typer.Option(help="Who they are to the server: a person here.")] = "",
    grant: Annotated[str, typer.Option(help="An external auditor's lease: grant_….")] = "",
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Name somebody in people.yaml; from then on only who is named there signs this audit."""
    opened = open_workspace(places_of(workspace))
    found = find_audit(opened, audit)
    if found.summary() is not None:
        message = f"{found.subject.audit} is completed and closed"
        raise Refused(message, code="audit_completed", hint="start another audit")
    member = Member(
        name=name,
        roles=frozenset(_role(word) for word in roles),
        person=opened.access.find_person(person).id if person else "",
        key=_key(opened, key),
        grant=grant,
    )
    made = (load_people(found.path) or People()).with_member(member)
    must_be_apart(made, AuditFolder(found.path).people_elsewhere(found.subject))
    written = write_people(found.path, made)
    Output(json_output).data(
        {"audit": found.subject.audit, "people": written.digest, **member.to_value()},
        f"{name} is {', '.join(sorted(member.roles))} in {found.subject.audit}",
    )


@people.command("list")
@command
def list_people(
    audit: AuditOption = None, workspace: WorkspaceOption = None, json_output: JsonOption = False
) -> None:
    """Show who acts in the audit, in which role, with which key and lease."""
    found = find_audit(open_workspace(places_of(workspace)), audit)
    made = load_people(found.path)
    rows = [] if made is None else [row.to_value() for row in made.members]
    lines = [
        "  ".join([row["name"], ", ".join(row["roles"]), row.get("key", ""), row.get("grant", "")])
        for row in rows
    ]
    none = "there is no people.yaml: trust.json alone says who signs"
    Output(json_output).data(rows, "\n".join(lines) or none)


@command
def interview(
    stakeholder: Annotated[str, typer.Argument(help="An id of M1.")],
    transcript: Annotated[Path, typer.Option(help="Its file, which stays where it is.")],
    day: Annotated[str, typer.Option("--date", help="When, YYYY-MM-DD.")],
    consent: Annotated[
        bool, typer.Option("--consent", help="They consented; without it nobody is listed.")
    ] = False,
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Note an interview in M4: stakeholder, date, consent, and the transcript's digest alone."""
    found = find_audit(open_workspace(places_of(workspace)), audit)
    digest = add_interview(found, stakeholder, day, transcript, consent=consent)
    Output(json_output).data(
        {"stakeholder": stakeholder, "date": day, "transcript": digest},
        f"noted the interview with {stakeholder}; its transcript is {digest}",
    )


@command
def dissent(
    document: Annotated[str, typer.Argument(help="The document, for instance R2.")],
    text: Annotated[str, typer.Option(help="What they say, in their words.")],
    by: Annotated[str, typer.Option(help="Who disagrees.")],
    about: Annotated[str, typer.Option(help="With what.")],
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Record a disagreement in a document; it must then be signed again, and stands in R4."""
    found = find_audit(open_workspace(places_of(workspace)), audit)
    try:
        kind = DocumentKind(document.upper())
    except ValueError as error:
        raise NotFound(f"no document '{document}'", code="no_document") from error
    path = add_dissent(found, kind, by, about, text)
    Output(json_output).data(
        {"document": str(kind), "by": by, "file": str(path)}, f"recorded in {path}"
    )


def _role(word: str) -> Role:
    try:
        return Role(word.replace("-", "_"))
    except ValueError as error:
        message = f"there is no role '{word}'"
        raise Invalid(message, code="bad_people", hint=f"roles: {', '.join(Role)}") from error


def _key(opened: Workspace, text: str) -> str:
    if not text or text.startswith("ed25519:"):
        return text
    return key_id(signer_of(opened, text).public_key)
