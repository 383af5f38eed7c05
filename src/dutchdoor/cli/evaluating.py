"""`dutchdoor audit run` and `dutchdoor audit import`: measuring, and what others measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.amending import amend_audit
from dutchdoor.app.auditing import FIT_EXAMPLES_DEFAULT, AuditRun, Outcome, run_audit
from dutchdoor.app.governance import find_audit
from dutchdoor.app.workspace import open_workspace
from dutchdoor.audit.amend.plan import AmendOptions
from dutchdoor.audit.evaluations.catalogue import KINDS, SETS, Kind, names_of
from dutchdoor.audit.evaluations.privacy import read_canaries
from dutchdoor.audit.fan import LocalFan, RayFan
from dutchdoor.audit.imports import names_another
from dutchdoor.audit.model import AuditStatus, Finding
from dutchdoor.audit.ports import Fan
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.cli.progressing import progressing

__all__ = ["add_to"]

AuditOption = Annotated[
    str | None, typer.Option("--audit", help="Which audit; default: the latest.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the audit's."""
    app.command("run")(run)
    app.command("import")(import_)


@command
def run(
    chosen: Annotated[
        str, typer.Option("--set", help="Which evaluations: 'short' or 'full'.")
    ] = "full",
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Evaluations by name; may be repeated.")
    ] = None,
    all_: Annotated[
        bool,
        typer.Option("--all", help="Every automatic test: after these, the amend test too."),
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="List the evaluations and run nothing.")
    ] = False,
    limit: Annotated[int, typer.Option(help="Samples of each evaluation; 0 for all.")] = 0,
    examples: Annotated[
        int, typer.Option(help="Texts to fit the guard's probe on; 0 for the whole starter set.")
    ] = FIT_EXAMPLES_DEFAULT,
    seed: Annotated[int, typer.Option(help="The seed of sampling and fitting.")] = 0,
    canaries: Annotated[
        Path | None, typer.Option(help="Canaries that were planted in training, a JSON Lines file.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Fit and measure again what an earlier run finished.")
    ] = False,
    processes: Annotated[int, typer.Option(help="Evaluation processes on this machine.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(help="Run over the Ray cluster at this address ('local' for one here)."),
    ] = None,
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Fit the guard's probe and run the evaluations, against the running server.

    With --all the amend test follows. What a run with the same seed and limit finished before is
    kept, so that a run that was killed goes on where it was.
    """
    output = Output(json_output)
    names = names_of(chosen, only or ())
    if listed:
        output.data({"evaluations": _rows()}, "\n".join(_lines()))
        return
    opened = open_workspace(places_of(workspace))
    found = find_audit(opened, audit)
    fan: Fan = LocalFan(processes) if ray is None else RayFan("" if ray == "local" else ray)
    asked = AuditRun(
        limit=limit,
        examples=examples,
        seed=seed,
        evaluations=names,
        canaries=() if canaries is None else read_canaries(canaries),
        fresh=fresh,
        fan=fan,
    )
    with progressing(output) as progress:
        outcome = run_audit(opened, found, asked, progress=progress)
        findings = outcome.findings
        if all_:
            findings = amend_audit(opened, found, AmendOptions(), progress)
    _show(output, found.status(), outcome, findings)


def _show(
    output: Output, status: AuditStatus, outcome: Outcome, findings: Sequence[Finding]
) -> None:
    lines = [f"probe {outcome.probe}"]
    lines += [f"  {row.name}: {row.text}" for row in outcome.evaluations]
    lines += [f"  {finding.severity}: {finding.text}" for finding in findings]
    lines.append(f"next: {status.next}")
    value = {
        "audit": status.audit,
        "probe": outcome.probe,
        "evaluations": [row.to_body() for row in outcome.evaluations],
        "findings": [finding.to_body() for finding in findings],
        "next": status.next,
    }
    output.data(value, "\n".join(lines))


@command
def import_(
    file: Annotated[
        Path, typer.Argument(help="An Inspect .eval log, lm-eval results, or a garak report.")
    ],
    although_other_model: Annotated[
        bool,
        typer.Option(
            "--although-other-model", help="Take it although it names another model; it says so."
        ),
    ] = False,
    audit: AuditOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Put another tool's results into the testing report: digest and headline figures alone."""
    output = Output(json_output)
    found = find_audit(open_workspace(places_of(workspace)), audit)
    taken = found.take_import(file, although_other_model=although_other_model)
    model = found.subject.model
    if names_another(taken, model):
        output.note(f"warning: {taken.file} is about '{taken.model}'; '{model}' is audited")
    elif not taken.model:
        output.note(f"warning: {taken.file} does not say which model it is about")
    lines = [
        f"{taken.file}: {taken.kind}, {taken.digest}",
        f"  about the model {taken.model or 'that it does not name'}",
    ]
    lines += [f"  {name}: {text}" for name, text in taken.figures.items()]
    output.data(taken.to_body(), "\n".join(lines))


def _rows() -> list[dict[str, object]]:
    return [
        {
            "name": kind.name,
            "counts": kind.counts,
            "samples": kind.size,
            "depth": kind.depth,
            "sets": [name for name, names in SETS.items() if kind.name in names],
        }
        for kind in KINDS.values()
    ]


def _lines() -> list[str]:
    return [f"{kind.name}: {kind.counts} ({_size(kind)}, {kind.depth})" for kind in KINDS.values()]


def _size(kind: Kind) -> str:
    """How many samples it takes; some only the run knows."""
    unknown = {"canaries": "n as many as --canaries has", "planted_canaries": "n as it plants"}
    if kind.name in unknown:
        return unknown[kind.name]
    return f"n {kind.size}"
