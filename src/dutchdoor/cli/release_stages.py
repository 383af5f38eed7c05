"""`dutchdoor release gates`, `next`, `rollback`, `simulate`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.governance import release_of, signer_of
from dutchdoor.app.stages import Outlook, outlook, propose_next, replay, roll_back
from dutchdoor.app.workspace import Workspace, open_workspace
from dutchdoor.audit.document import DOCUMENT_BYTES_MAX, read_document, read_yaml
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import to_iso
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry
from dutchdoor.evidence.reader import LogReader
from dutchdoor.release.plain import read_terms
from dutchdoor.release.proposal import decision_of
from dutchdoor.release.stages.gates import check_stages
from dutchdoor.release.stages.simulate import hypothetical

__all__ = ["register"]

ENTRIES_BYTES_MAX = 64 << 20

BundleOption = Annotated[
    str | None, typer.Option("--bundle", help="Which bundle; default: the only one.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("gates")(gates)
    app.command("next")(propose)
    app.command("rollback")(back)
    app.command("simulate")(simulate)


@command
def gates(
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Show in which stage a decision stands, and each gate before the next, with its evidence."""
    opened = open_workspace(places_of(workspace))
    found = outlook(opened, _bundle(opened, bundle))
    Output(json_output).data(_value(found), "\n".join(_lines(found)))


@command
def propose(
    proposer: Annotated[str, typer.Option("--by", help="Who answers for the proposal.")],
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Propose the next stage of the signed plan, where all its gates are open."""
    opened = open_workspace(places_of(workspace))
    proposal = propose_next(opened, _bundle(opened, bundle), proposer)
    path = release_of(opened).document(proposal.id)
    Output(json_output).data(
        {"proposal": proposal.id, "stage": proposal.decision.stage, "document": str(path)},
        f"proposed {proposal.id}: stage '{proposal.decision.stage}'\n  read and edit {path}\n"
        f"  people approve it: dutchdoor release approve {proposal.id}",
    )


@command
def back(
    reason: Annotated[str, typer.Option(help="Why; it is signed and recorded.")],
    signer: Annotated[str, typer.Option("--as", help="Whose key signs, from the keyring.")],
    to: Annotated[
        str | None, typer.Option("--to", help="An earlier stage, or 'nobody'; default: one back.")
    ] = None,
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Go back to an earlier stage of the plan. Streams it does not let in are cut."""
    opened = open_workspace(places_of(workspace))
    stage = "" if to == "nobody" else to
    done = roll_back(opened, _bundle(opened, bundle), stage, reason, signer_of(opened, signer))
    Output(json_output).data(
        {"decision": done.decision, "from": done.source, "stage": done.stage},
        f"rolled back {done.decision}\n  from '{done.source}' to '{done.stage or 'nobody'}'; "
        "a later stage takes a new decision",
    )


@command
def simulate(
    plan: Annotated[Path, typer.Argument(help="decision.md, or YAML of terms with stages.")],
    log: Annotated[
        Path | None, typer.Option("--log", help="A log's folder; default: this workspace's.")
    ] = None,
    entries: Annotated[
        Path | None, typer.Option("--entries", help="JSON lines of entries that might be.")
    ] = None,
    days: Annotated[int, typer.Option(help="Days the clock runs on after the last entry.")] = 0,
    bundle: BundleOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Replay a plan against a log with a moving clock: when each gate would have opened.

    Nothing is written. People are taken to approve at once.
    """
    opened = open_workspace(places_of(workspace))
    decision = _planned(opened, plan, _bundle(opened, bundle))
    rows = _entries(opened, log) if entries is None else _made_up(entries, decision.bundle)
    events = replay(opened, decision, rows, days)
    Output(json_output).data(
        [
            {
                "time": to_iso(event.time_ms),
                "what": event.what,
                "stage": event.stage,
                "text": event.text,
                "evidence": list(event.evidence),
            }
            for event in events
        ],
        "\n".join(
            f"{to_iso(event.time_ms)} {event.what.replace('_', ' ')}: {event.stage}: {event.text}"
            + (f" ({', '.join(event.evidence)})" if event.evidence else "")
            for event in events
        ),
    )


def _bundle(workspace: Workspace, name: str | None) -> str | None:
    return None if name is None else find_bundle(workspace, name).digest


def _value(found: Outlook) -> dict[str, Any]:
    return {
        "decision": found.decision.id,
        "stage": found.stage,
        "next": found.coming.name if found.coming else "",
        "open": found.open,
        "gates": [
            {
                "gate": row.gate.kind,
                "arguments": dict(row.gate.arguments),
                "state": str(row.state),
                "text": row.text,
                "evidence": list(row.evidence),
            }
            for row in found.answers
        ],
        "rolled_back": [
            {"stage": fall.stage, "reason": fall.claim.reason, "entry": fall.index}
            for fall in found.falls
        ],
    }


def _lines(found: Outlook) -> list[str]:
    lines = [f"{found.decision.id} stands in stage '{found.stage or 'nobody'}'"]
    lines += [f"  rolled back: {fall.claim.reason}" for fall in found.falls]
    if found.coming is None:
        return [*lines, "it is the last one of the plan"]
    lines.append(f"gates before '{found.coming.name}':")
    for row in found.answers:
        shown = f" ({', '.join(row.evidence)})" if row.evidence else ""
        lines.append(f"  {row.state}: {row.gate.kind}: {row.text}{shown}")
    ready = "all are open: dutchdoor release next" if found.open else "not all are open"
    return [*lines, ready]


def _planned(workspace: Workspace, path: Path, bundle: str | None) -> Decision:
    """A decision that holds the plan in `path`, on the bundle that is asked about."""
    register = workspace.register
    known = register.bundles()
    chosen = bundle or (known[0] if len(known) == 1 else "")
    last = next((s.decision for s in reversed(register.history(chosen)) if s.decision), None)
    if last is None:
        message = "say on which bundle the plan is to be tried"
        raise NotFound(message, code="no_decision", hint="give --bundle")
    if path.suffix == ".md":
        stages = decision_of(read_document(path)).terms.stages
    else:
        text = _read(path, DOCUMENT_BYTES_MAX).decode(errors="replace")
        value: Any = read_yaml(text, where=path.name, fenced=False)
        if isinstance(value, dict) and "terms" in value:
            value = value["terms"]
        stages = read_terms(value if isinstance(value, dict) else {}).stages
    decision = replace(last, terms=replace(last.terms, stages=stages))
    check_stages(decision)
    return decision


def _entries(workspace: Workspace, log: Path | None) -> list[tuple[int, Entry]]:
    reader = workspace.reader if log is None else LogReader(log)
    return [(index, Entry.decode(data)) for index, data in reader.entries()]


def _made_up(path: Path, bundle: str) -> list[tuple[int, Entry]]:
    lines = _read(path, ENTRIES_BYTES_MAX).decode(errors="replace").splitlines()
    try:
        rows = [json.loads(line) for line in lines if line.strip()]
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{path} holds no JSON lines", code="bad_entry") from error
    if not all(isinstance(row, dict) for row in rows):
        raise Invalid(f"{path} holds a line that is no object", code="bad_entry")
    return hypothetical(rows, bundle)


def _read(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(bytes_max)
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}", code="no_file") from error
