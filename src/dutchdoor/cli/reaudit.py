"""`dutchdoor audit due`, `trigger`, `renew`, `reopen`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dutchdoor.app import reaudit
from dutchdoor.app.governance import signer_of
from dutchdoor.app.reaudit import Matter, matters, record_dues
from dutchdoor.app.workspace import open_workspace
from dutchdoor.audit.triggers import DAY_MS, TriggerKind
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import from_iso, to_iso
from dutchdoor.errors import Invalid

__all__ = ["register"]

BundleOption = Annotated[
    str | None, typer.Option("--bundle", help="Which bundle; default: the only one.")
]
AsOption = Annotated[str, typer.Option("--as", help="Whose key signs, from the keyring.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("due")(due)
    app.command("trigger")(trigger)
    app.command("renew")(renew)
    app.command("reopen")(reopen)


@command
def due(
    record: Annotated[
        bool, typer.Option("--record", help="Record what is due now, if it is not yet.")
    ] = False,
    signer: AsOption = "holder",
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show what makes audits due again, and when that puts their decisions out of force."""
    opened = open_workspace(places_of(workspace))
    now_ms = opened.clock.now_ms()
    rows = matters(opened)
    output = Output(json_output)
    if record:
        found = [row.due for row in rows if not row.recorded and row.due.due_ms <= now_ms]
        written = record_dues(opened, found, signer_of(opened, signer)) if found else ()
        output.note(f"recorded {len(written)}")
        rows = matters(opened)
    output.data(
        [_value(row, now_ms) for row in rows],
        "\n".join(_line(row, now_ms) for row in rows) or "no decision here rests on an audit",
    )


@command
def trigger(
    kind: Annotated[str, typer.Option(help="incident, landscape, or another kind of trigger.")],
    reason: Annotated[str, typer.Option(help="What happened; it is signed and recorded.")],
    signer: AsOption,
    due_on: Annotated[
        str | None, typer.Option("--due", help="From when, a date or time; default: now.")
    ] = None,
    grace_days: Annotated[
        int | None, typer.Option(help="Days until the decision is out of force; default: by kind.")
    ] = None,
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say that something happened which makes the audit due again, for instance an incident."""
    opened = open_workspace(places_of(workspace))
    found = reaudit.trigger(
        opened,
        bundle,
        _kind(kind),
        reason,
        signer_of(opened, signer),
        due_ms=None if due_on is None else from_iso(due_on),
        grace_ms=None if grace_days is None else grace_days * DAY_MS,
    )
    ends = to_iso(found.ends_ms)
    Output(json_output).data(
        {"due": found.id, "bundle": found.bundle, "trigger": found.trigger, "ends": ends},
        f"recorded {found.id}\n  no decision above fully closed is in force from {ends} on,\n"
        "  unless an auditor renews the audit, or a new decision rests on a new one",
    )


@command
def renew(
    reason: Annotated[str, typer.Option(help="Why the audit holds on; signed and recorded.")],
    signer: AsOption,
    dues: Annotated[
        list[str] | None, typer.Argument(help="What was reviewed, due_…; default: all recorded.")
    ] = None,
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Sign, as an auditor, that what came up was reviewed and the audit holds on."""
    opened = open_workspace(places_of(workspace))
    found = reaudit.renew(opened, bundle, reason, signer_of(opened, signer), dues or ())
    Output(json_output).data(
        {"renewal": found.id, "audit": found.audit, "dues": list(found.dues)},
        f"renewed the audit {found.audit}\n  reviewed: {', '.join(found.dues) or 'the period'}",
    )


@command
def reopen(
    auditors: Annotated[
        list[str], typer.Option("--auditor", help="Who is let in; repeat it for several.")
    ],
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Let auditors in again where no decision is in force, under a new fully closed one."""
    opened = open_workspace(places_of(workspace))
    people = [opened.access.find_person(name) for name in auditors]
    decision = reaudit.reopen(opened, bundle, people)
    Output(json_output).data(
        {"decision": decision.id, "bundle": decision.bundle},
        f"{decision.id} is in force: fully closed, to {', '.join(auditors)}\n"
        "  next: dutchdoor audit start",
    )


def _kind(word: str) -> TriggerKind:
    try:
        return TriggerKind(word.replace("-", "_"))
    except ValueError as error:
        known = ", ".join(TriggerKind)
        message = f"no trigger '{word}'"
        raise Invalid(message, code="unknown_trigger", hint=f"known: {known}") from error


def _value(row: Matter, now_ms: int) -> dict[str, Any]:
    due = row.due
    return {
        "due": due.id,
        "bundle": due.bundle,
        "model": row.model,
        "trigger": due.trigger,
        "detail": due.detail,
        "state": row.state(now_ms),
        "recorded": row.recorded,
        "due_at": to_iso(due.due_ms),
        "out_of_force_at": to_iso(due.ends_ms),
    }


def _line(row: Matter, now_ms: int) -> str:
    due = row.due
    left_days = max(0, due.ends_ms - now_ms) // DAY_MS
    recorded = "" if row.recorded or row.state(now_ms) == "coming" else ", not recorded"
    return (
        f"{row.model}: {due.trigger}, {row.state(now_ms)}{recorded}: due {to_iso(due.due_ms)[:10]},"
        f" out of force {to_iso(due.ends_ms)[:10]} ({left_days} days left)\n"
        f"  {due.detail}  {due.id}"
    )
