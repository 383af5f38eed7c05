"""`dutchdoor serve`, `status`, `stop`, `example-model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.background import readiness, start_background, stop_background
from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.ceremonies import Plan
from dutchdoor.app.example import EXAMPLE_NAME, write_example_model
from dutchdoor.app.running import find_running
from dutchdoor.app.serving import serve as serve_bundle
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.ceremonies import ExpiresOption, lifetime_ms_of
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("example-model")(example_model)
    app.command("serve")(serve)
    app.command("status")(status)
    app.command("stop")(stop)


@command
def example_model(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write SmolLM2-135M-Instruct, a real and small model, as a folder to try things with."""
    output = Output(json_output)
    output.note("this takes a minute the first time")
    write_example_model(folder)
    output.data({"model": EXAMPLE_NAME, "folder": str(folder)}, f"wrote {EXAMPLE_NAME} to {folder}")


@command
def serve(
    bundle: Annotated[str | None, typer.Argument(help="Which bundle; default: the only one.")] = (
        None
    ),
    background: Annotated[bool, typer.Option(help="Return once it answers.")] = False,
    port: Annotated[
        int | None, typer.Option(help="Another port than the configuration's; 0 for a free one.")
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option(help="Ask custodians elsewhere to open it, and why: dutchdoor custody."),
    ] = None,
    expires: ExpiresOption = "1h",
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Serve a bundle: gateway and runtime as processes of their own, restarted if they die."""
    output = Output(json_output)
    places = places_of(workspace)
    opened = open_workspace(places)
    found = find_bundle(opened, bundle)
    if background:
        output.note("starting; its own output goes to run/serve.log")
        asked = () if reason is None else ("--reason", reason, "--expires", expires)
        running = start_background(places, found.name, port, asked)
        output.data(
            {"url": running.url, "bundle": found.digest, "supervisor": running.supervisor_pid},
            f"serving {found.name} at {running.url}",
        )
        return
    plan = None if reason is None else Plan("serve", reason, lifetime_ms_of(expires))
    serve_bundle(opened, found, port=port, say=output.note, plan=plan)


@command
def status(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """Say what runs in this workspace, and whether it answers."""
    running = find_running(places_of(workspace))
    told = readiness(running)
    state = "ready" if told["ready"] else f"not ready: {told.get('why', '')}"
    Output(json_output).data(
        {
            "url": running.url,
            "bundle": running.bundle,
            "decision": running.decision,
            "ready": told["ready"],
            "gateway_pid": running.gateway_pid,
            "runtime_pid": running.runtime_pid,
        },
        f"{running.url}: {state}\n  bundle {running.bundle}\n"
        f"  open under {running.decision or 'no decision: closed'}",
    )


@command
def stop(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """Stop the server of this workspace."""
    stop_background(places_of(workspace))
    Output(json_output).data({"stopped": True}, "stopped")
