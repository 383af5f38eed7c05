"""`dutchdoor audit amend`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.amending import amend_audit
from dutchdoor.app.governance import find_audit
from dutchdoor.app.workspace import open_workspace
from dutchdoor.audit.amend.plan import ARMS, AmendOptions
from dutchdoor.audit.amend.prompts import read_prompts
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.cli.progressing import progressing

__all__ = ["add_to"]


@command
def amend(
    seeds: Annotated[int, typer.Option(help="How often each arm is run.")] = 2,
    prompts: Annotated[int, typer.Option(help="Prompts scored at each point, 8 to 24.")] = 16,
    arm: Annotated[
        list[str] | None, typer.Option(help=f"Only these arms, of: {', '.join(ARMS)}.")
    ] = None,
    asked: Annotated[
        Path | None,
        typer.Option(
            "--prompts-from", help="Harmful requests of a public benchmark: its .jsonl or .csv."
        ),
    ] = None,
    even_without_safeguard: Annotated[
        bool,
        typer.Option(
            "--even-without-safeguard", help="Run the arms on a model that refuses nothing, too."
        ),
    ] = False,
    audit: Annotated[
        str | None, typer.Option("--audit", help="Which audit; default: the latest.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Measure what modification unlocks, on a copy inside the runtime; goes on where it was."""
    output = Output(json_output)
    opened = open_workspace(places_of(workspace))
    found = find_audit(opened, audit)
    options = AmendOptions(
        seeds=seeds,
        prompts=prompts,
        arms=tuple(arm or ARMS),
        even_without_safeguard=even_without_safeguard,
    )
    if asked is not None:
        options = replace(options, asked=read_prompts(asked, options.prompts_needed))
    with progressing(output) as progress:
        findings = amend_audit(opened, found, options, progress)
    own = [finding for finding in findings if finding.id.startswith("amend:")]
    lines = [f"  {finding.severity}: {finding.text}" for finding in own]
    lines += [f"curves: {found.path / 'amend.svg'}", f"next: {found.status().next}"]
    value = {"findings": [finding.to_body() for finding in own], "next": found.status().next}
    output.data(value, "\n".join(lines))


def add_to(app: typer.Typer) -> None:
    """Makes `amend` a command of `app`."""
    app.command("amend")(amend)
