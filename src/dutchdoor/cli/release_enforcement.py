"""`dutchdoor release diff` and `release compile`: the decision against what runs."""

from __future__ import annotations

from typing import Annotated

import typer

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.comparing import Comparison, compare_running
from dutchdoor.app.governance import compile_policies
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of

__all__ = ["register"]

DIFFERENT = 1


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("diff")(diff)
    app.command("compile")(compile_rules)


@command
def diff(
    bundle: Annotated[str | None, typer.Argument(help="Which bundle; default: the only one.")] = (
        None
    ),
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Compare the decision in force with what runs. Exit code 1: something differs."""
    opened = open_workspace(places_of(workspace))
    found = compare_running(opened, find_bundle(opened, bundle))
    value = {
        "decision": found.decision.id,
        "bundle": found.decision.bundle,
        "same": found.same,
        "rows": [
            {
                "what": row.what,
                "decided": row.decided,
                "runs": row.runs,
                "same": row.same,
                "code": "" if row.same else row.code,
            }
            for row in found.rows
        ],
        "sealed_bytes": found.sealed_bytes,
        "days_to_leave": found.days_to_leave,
        "egress_bytes_today": found.egress_bytes_today,
    }
    Output(json_output).data(value, _text(found))
    if not found.same:
        raise typer.Exit(DIFFERENT)


@command
def compile_rules(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """Write decision.cedar anew from the decisions in force, and record which rules hold."""
    opened = open_workspace(places_of(workspace))
    compile_policies(opened)
    path = opened.places.policies / "decision.cedar"
    Output(json_output).data({"policies": str(path)}, f"wrote {path}")


def _text(found: Comparison) -> str:
    lines = [f"decision {found.decision.id} on {found.decision.model}"]
    for row in found.rows:
        mark = "same     " if row.same else "DIFFERENT"
        what = f"{row.what}: decided {row.decided}; runs {row.runs}"
        lines.append(f"  {mark} {what}" + ("" if row.same else f" [{row.code}]"))
    if found.days_to_leave:
        lines.append(
            f"  at the limit, {found.sealed_bytes} sealed bytes take {found.days_to_leave} days "
            "to leave through the runtime's socket"
        )
    if found.egress_bytes_today is not None:
        lines.append(f"  {found.egress_bytes_today} bytes have gone out today (UTC)")
    lines.append("all the same" if found.same else "what runs is not what was decided")
    return "\n".join(lines)
