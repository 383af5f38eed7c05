"""`dutchdoor evidence …`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from dutchdoor.app.workspace import Workspace, open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import to_iso
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.consistency import CHECKPOINT_BYTES_MAX, continues
from dutchdoor.evidence.export import export as export_log
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.reader import LogReader
from dutchdoor.evidence.trust import encode_trust, log_key
from dutchdoor.evidence.verify.report import Report
from dutchdoor.evidence.verify.verifier import verify as verify_folder

__all__ = ["app", "report_lines"]

SHOWN_DEFAULT = 20

app = typer.Typer(help="The tamper-evident log: show, prove, verify.", no_args_is_help=True)


@app.command("show")
@command
def show(
    last: Annotated[int, typer.Option(help="How many of the newest; 0 for all.")] = SHOWN_DEFAULT,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only entries of this kind; repeat it.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show entries of the log, newest last."""
    opened = open_workspace(places_of(workspace))
    kinds = {_kind(name) for name in kind or []}
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    opened.reader.refresh()
    for index, data in opened.reader.entries():
        entry = Entry.decode(data)
        if kinds and entry.kind not in kinds:
            continue
        rows.append(
            {
                "index": index,
                "kind": str(entry.kind),
                "time": to_iso(entry.time_ms),
                "body": entry.body,
            }
        )
        lines.append(f"{index:>6}  {to_iso(entry.time_ms)}  {entry.kind}  {_told(entry)}")
    start = max(len(rows) - last, 0) if last else 0
    Output(json_output).data(rows[start:], "\n".join(lines[start:]) or "no such entries")


@app.command("checkpoint")
@command
def checkpoint(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """Print the newest signed checkpoint. Keep it elsewhere: it exposes a log cut short."""
    opened = open_workspace(places_of(workspace))
    opened.reader.refresh()
    head = opened.reader.head()
    note = (opened.places.evidence / "checkpoint").read_text()
    value = {"origin": head.origin, "size": head.size, "note": note}
    # Printing ends the last line: a note redirected to a file stays byte for byte what was signed.
    Output(json_output).data(value, note.removesuffix("\n"))


@app.command("consistency")
@command
def consistency(
    old: Annotated[
        Path, typer.Argument(metavar="OLD_CHECKPOINT_FILE", help="A checkpoint kept from before.")
    ],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Prove that the log continues an old checkpoint: nothing was cut back or put in between."""
    opened = open_workspace(places_of(workspace))
    try:
        with old.open("rb") as file:
            note = file.read(CHECKPOINT_BYTES_MAX)
    except OSError as error:
        message = f"the checkpoint cannot be read: {error.strerror}"
        raise NotFound(message, code="no_checkpoint", hint="check the path") from error
    key = log_key(opened.trust)
    found = continues(LogReader(opened.places.evidence, key).view, note, key)
    Output(json_output).data(
        found.to_value(),
        f"the log of {found.new.size} entries continues that of {found.old.size}\n"
        f"  root then {found.old.root.hex()}\n  root now  {found.new.root.hex()}\n"
        f"  proof: {len(found.proof)} hashes; --json shows them",
    )


@app.command("receipt")
@command
def receipt(
    entry: Annotated[str, typer.Argument(help="An entry's index, or an inference's id.")],
    out: Annotated[Path | None, typer.Option(help="Write the receipt to this file.")] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make the receipt of an entry: all that a stranger needs to check it."""
    opened = open_workspace(places_of(workspace))
    data = opened.log.receipt(_index_of(opened, entry))
    if out is None:
        typer.echo(data.decode())
        return
    out.write_bytes(data)
    Output(json_output).data({"file": str(out)}, str(out))


@app.command("export")
@command
def export(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Copy the log in plain C2SP tlog-tiles layout, with the keys to verify it."""
    opened = open_workspace(places_of(workspace))
    export_log(opened.log.refresh(), folder)
    trust = folder.with_name(folder.name + ".trust.json")
    trust.write_bytes(encode_trust(opened.trust))
    Output(json_output).data(
        {"folder": str(folder), "trust": str(trust)},
        f"{folder}\nverify it anywhere: "
        f"python -m dutchdoor.evidence.verify {folder} --trust {trust}",
    )


@app.command("verify")
@command
def verify(
    receipts: Annotated[
        list[Path] | None, typer.Option("--receipt", help="A receipt to check too; repeat it.")
    ] = None,
    since: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint kept from before, which the log must continue; repeat it."),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Another evidence folder than the workspace's.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Check the whole log from its bytes, and receipts against it."""
    places = places_of(workspace)
    try:
        given = {str(path): path.read_bytes() for path in receipts or []}
        before = {str(path): path.read_bytes() for path in since or []}
    except OSError as error:
        message = f"a receipt or checkpoint cannot be read: {error.strerror}"
        raise NotFound(message, code="no_receipt", hint="check the path") from error
    report = verify_folder(folder or places.evidence, places.trust.read_bytes(), given, before)
    Output(json_output).data(json.loads(json.dumps(report.to_value())), _text(report))
    if not report.holds:
        message = f"the log does not hold: {len(report.findings)} findings"
        raise Refused(message, code="does_not_hold", hint="each finding says where it is")


def report_lines(report: Report) -> list[str]:
    """A report as lines for a person."""
    lines = [
        f"{report.entries} entries of {report.origin}",
        (
            f"{report.decisions} decisions; {report.inferences} inferences, "
            f"{len(report.open_inferences)} of them still open; {report.receipts} receipts"
        ),
        f"root {report.root}",
    ]
    lines += [f"notice: {text}" for text in report.notices]
    lines += [f"finding: {row.where}: {row.what}" for row in report.findings]
    return lines


def _text(report: Report) -> str:
    end = "it holds" if report.holds else "it does not hold"
    return "\n".join([*report_lines(report), end])


def _kind(name: str) -> EntryKind:
    try:
        return EntryKind(name)
    except ValueError as error:
        known = ", ".join(str(kind) for kind in EntryKind)
        message = f"'{name}' is not a kind of entry"
        raise Invalid(message, code="unknown_kind", hint=f"there are: {known}") from error


def _index_of(workspace: Workspace, name: str) -> int:
    if name.isdigit():
        return int(name)
    found = None
    workspace.reader.refresh()
    for index, data in workspace.reader.entries():
        # The last entry of an inference is the one that says how it ended.
        if name.encode() in data and Entry.decode(data).body.get("inference") == name:
            found = index
    if found is None:
        hint = "see 'dutchdoor evidence show'"
        raise NotFound(f"no entry about '{name}'", code="no_entry", hint=hint)
    return found


def _told(entry: Entry) -> str:
    shown = ("model", "level", "outcome", "code", "inference", "decision", "person", "reason")
    parts = [f"{name}={entry.body[name]}" for name in shown if entry.body.get(name)]
    return " ".join(parts)
