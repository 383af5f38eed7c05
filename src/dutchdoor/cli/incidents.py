"""`dutchdoor incidents record`, `list`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.governance import signer_of
from dutchdoor.app.incidents import Told, incidents, record_incident, report_of
from dutchdoor.app.stages import only_bundle
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import from_iso, to_iso
from dutchdoor.errors import Invalid
from dutchdoor.evidence.incidents import IncidentClass, IncidentNature
from dutchdoor.release.stages.clocks import FIELDS

__all__ = ["register"]

Word = TypeVar("Word", bound=StrEnum)

app = typer.Typer(help="Record incidents, and see what is owed on them.", no_args_is_help=True)


def register(main: typer.Typer) -> None:
    """Add these commands to `main`."""
    main.add_typer(app, name="incidents")


@app.command("record")
@command
def record(
    signer: Annotated[str, typer.Option("--as", help="Whose key signs, from the keyring.")],
    grade: Annotated[
        str | None, typer.Option("--class", help="near_miss, minor, serious or critical.")
    ] = None,
    nature: Annotated[
        str | None, typer.Option(help="weights_leaked, breach, death, … or other.")
    ] = None,
    told: Annotated[
        list[str] | None,
        typer.Option("--told", help="FIELD=TEXT: " + ", ".join(FIELDS) + "; repeat it."),
    ] = None,
    incident: Annotated[
        str, typer.Option("--incident", help="More about this one, incident_….")
    ] = "",
    aware: Annotated[
        str | None, typer.Option(help="When you came to know of it; default: now.")
    ] = None,
    resolved: Annotated[str | None, typer.Option(help="When it was resolved.")] = None,
    report: Annotated[
        str, typer.Option(help="initial, intermediate or final: a report that went out.")
    ] = "",
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="Which bundle; default: the only one.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Record an incident, or more about one; what the plan says to it happens at once."""
    opened = open_workspace(places_of(workspace))
    found, falls, problem = record_incident(
        opened,
        find_bundle(opened, bundle).digest if bundle else only_bundle(opened),
        signer_of(opened, signer),
        grade=_word(IncidentClass, grade),
        nature=_word(IncidentNature, nature),
        told=dict(_field(text) for text in told or ()),
        incident=incident,
        aware_ms=None if aware is None else from_iso(aware),
        resolved_ms=None if resolved is None else from_iso(resolved),
        report=report,
    )
    lines = [f"recorded {found.id}, revision {found.revision}: {found.grade}, {found.nature}"]
    lines += [f"rolled back to {fall.stage or 'nobody'}: {fall.claim.reason}" for fall in falls]
    lines.append("  if it questions the audit: dutchdoor audit trigger --kind incident")
    output = Output(json_output)
    output.data(
        {
            "incident": found.id,
            "revision": found.revision,
            "class": str(found.grade),
            "nature": str(found.nature),
            "rolled_back": [fall.stage for fall in falls],
        },
        "\n".join(lines),
    )
    if problem is not None:
        output.note(f"a roll-back holds, but is not written down: {problem.message}")
        output.note("a running server writes it down as soon as it can")


@app.command("list")
@command
def show(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """List all incidents with what is known of them, and by when which report is owed."""
    opened = open_workspace(places_of(workspace))
    now_ms = opened.clock.now_ms()
    rows = incidents(opened)
    Output(json_output).data(
        [_value(row, now_ms) for row in rows],
        "\n".join(_lines(row, now_ms) for row in rows) or "no incident was recorded",
    )


def _value(row: Told, now_ms: int) -> dict[str, Any]:
    return {
        "incident": row.now.id,
        "bundle": row.now.bundle,
        "revision": row.now.revision,
        "class": str(row.now.grade),
        "nature": str(row.now.nature),
        "aware_at": to_iso(row.now.aware_ms),
        "resolved_at": to_iso(row.now.resolved_ms) if row.now.resolved_ms else "",
        "entries": [placed.index for placed in row.revisions],
        "told": report_of(row) if row.at_hand else None,
        "reports": [
            {"report": c.report, "due_at": to_iso(c.due_ms), "state": c.state(now_ms)}
            for c in row.clocks
        ],
    }


def _lines(row: Told, now_ms: int) -> str:
    entry = row.revisions[-1].index
    since = to_iso(row.now.aware_ms)
    lines = [f"{row.now.id}: {row.now.grade}, {row.now.nature}, since {since}, entry {entry}"]
    lines += [
        f"  {clock.report} report: {clock.state(now_ms)}, due {to_iso(clock.due_ms)}"
        for clock in row.clocks
    ]
    if row.at_hand:
        lines += [f"  {name}: {text}" for name, text in report_of(row).items()]
    else:
        lines.append(f"  {row.document} is gone, or is not what was recorded")
    return "\n".join(lines)


def _field(text: str) -> tuple[str, str]:
    name, equals, rest = text.partition("=")
    if not equals:
        hint = "write --told harm='three accounts were read'"
        raise Invalid(f"'{text}' names no field", code="unknown_field", hint=hint)
    return name.strip(), rest


def _word(kind: type[Word], text: str | None) -> Word | None:
    try:
        return None if text is None else kind(text.replace("-", "_"))
    except ValueError as error:
        hint = "known: " + ", ".join(kind)
        raise Invalid(f"'{text}' is none", code="bad_incident", hint=hint) from error
