"""`dutchdoor release combinations`, `release what-if`, `release mof`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.combinations import decision_named
from dutchdoor.app.workspace import open_workspace
from dutchdoor.audit.outputs.mof_class import ClassResult, classify, progress_text, read_mof
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.errors import Invalid, NotFound
from dutchdoor.evidence.decision import Decision
from dutchdoor.release.combinations.check import answer_lines
from dutchdoor.release.combinations.evaluate import answer
from dutchdoor.release.combinations.model import CIRCLES, Opening
from dutchdoor.release.combinations.opening import opening_from, opening_of
from dutchdoor.release.combinations.openness import class_of
from dutchdoor.release.combinations.table import rules_tables
from dutchdoor.release.combinations.value import (
    answer_value,
    class_value,
    difference_value,
    opening_value,
)
from dutchdoor.release.combinations.what_if import Difference, change_from, next_steps, what_if

__all__ = ["register"]

MOF_BYTES_MAX = 1 << 20

NameArgument = Annotated[
    str, typer.Argument(help="A proposal, a decision or a bundle; default: the only bundle's.")
]
ComponentOption = Annotated[
    list[str] | None,
    typer.Option("--component", help="NAME=ACCESS, a component and how it is shared; repeat it."),
]
AudienceOption = Annotated[
    list[str] | None, typer.Option("--audience", help="NAME=DEPTH,DEPTH; repeat it.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to `dutchdoor release`."""
    app.command("combinations")(combinations)
    app.command("what-if")(try_change)
    app.command("mof")(mof)


@command
def combinations(
    name: NameArgument = "",
    level: Annotated[
        str, typer.Option(help="Ask about this level in place of a decision; needs no workspace.")
    ] = "",
    component: ComponentOption = None,
    audience: AudienceOption = None,
    rules: Annotated[bool, typer.Option("--rules", help="Print the rules themselves.")] = False,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say what a decision makes possible for whom, and which combinations are flagged.

    Ends with 1 where one of them is forbidden.
    """
    output = Output(json_output)
    if rules:
        output.data({"rules": rules_tables()}, rules_tables())
        return
    if not level and (component or audience):
        hint = "give --level, or ask 'release what-if' about a change"
        raise Invalid("no level to ask about", code="unknown_level", hint=hint)
    if level and name:
        raise Invalid("give a name or --level, not both", code="unknown_level")
    if level:
        opening = opening_from(level, _pairs(component), _depths(audience))
    else:
        opening = opening_of(_decision(workspace, name))
    found = answer(opening)
    value = {"opening": opening_value(opening), **answer_value(found)}
    output.data(value, "\n".join(answer_lines(found)))
    if found.forbidden:
        raise typer.Exit(1)


@command
def try_change(
    name: NameArgument = "",
    component: ComponentOption = None,
    audience: AudienceOption = None,
    level: Annotated[str, typer.Option(help="Another level.")] = "",
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say what would change if a component or a depth were opened; nothing is decided by it.

    Without --component, --audience and --level: every single step further.
    """
    opening: Opening = opening_of(_decision(workspace, name))
    if component or audience or level:
        change = change_from(level, _pairs(component), _depths(audience))
        found: tuple[Difference, ...] = (what_if(opening, change),)
    else:
        found = next_steps(opening)
    Output(json_output).data(
        {"opening": opening_value(opening), "changes": [difference_value(row) for row in found]},
        "\n".join(line for row in found for line in _difference_lines(row)),
    )


@command
def mof(
    name: NameArgument = "",
    file: Annotated[
        Path | None, typer.Option(help="A file in the framework's form; needs no workspace.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Compute the Model Openness Framework's class of what a decision makes public.

    By our reading of the framework's rules: nobody's conformity is claimed by it.
    """
    if file is None:
        result = class_of(_decision(workspace, name))
    else:
        result = classify(read_mof(_bytes(file)))
    Output(json_output).data(class_value(result), "\n".join(_class_lines(result)))


def _decision(workspace: Path | None, name: str) -> Decision:
    opened = open_workspace(places_of(workspace))
    if name and not name.startswith(("proposal_", "decision_", "sha256:")):
        name = find_bundle(opened, Path(name).name).digest
    return decision_named(opened, name)


def _pairs(texts: list[str] | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts or []:
        name, equals, access = text.partition("=")
        if not equals or name in found:
            hint = 'write --component "Model card=public", each component once'
            raise Invalid(f"'{text}' is no component=access", code="unknown_access", hint=hint)
        found[name] = access
    return found


def _depths(texts: list[str] | None) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts or []:
        name, equals, depths = text.partition("=")
        if not equals:
            hint = "write --audience researcher=sampling,logprobs"
            raise Invalid(f"'{text}' names no depth", code="bad_audience", hint=hint)
        found.setdefault(name.strip(), []).extend(depth.strip() for depth in depths.split(","))
    return found


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOF_BYTES_MAX + 1)
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}", code="bad_mof") from error


def _difference_lines(row: Difference) -> list[str]:
    lines = [row.change.text()]
    for move in row.moves:
        before = CIRCLES[move.before] if move.before else "nobody"
        after = CIRCLES[move.after] if move.after else "nobody"
        ways = ", ".join(way.name.replace("_", " ") for way in move.ways)
        lines.append(f"  {move.activity}: {before} -> {after}{f' ({ways})' if ways else ''}")
    lines += [f"  {activity}: yes -> no" for activity in row.ended]
    lines += [f"  {activity}: no -> yes" for activity in row.regained]
    moved = {way.name for move in row.moves for way in move.ways}
    lines += [
        f"  new way to {way.activity}: {way.name.replace('_', ' ')}"
        for way in row.ways
        if way.name not in moved and not way.activity.of_the_holder
    ]
    lines += [
        f"  {flag.verdict}: {flag.reason}" + (f" ({flag.arithmetic})" if flag.arithmetic else "")
        for flag in row.flags
    ]
    lines += [f"  settles: {name.replace('_', ' ')}" for name in row.settled]
    return lines if len(lines) > 1 else [*lines, "  nothing changes"]


def _class_lines(result: ClassResult) -> list[str]:
    lines = [progress_text(result)]
    if result.missing:
        lines.append(f"  not there: {', '.join(result.missing)}")
    lines += [f"  licence not open: {name} ({row})" for name, row in result.not_open.items()]
    if result.unlicensed:
        lines.append(f"  no licence: {', '.join(result.unlicensed)}")
    lines += [
        f"  open, and not meant for this kind of content: {name} ({row})"
        for name, row in result.warned.items()
    ]
    return [*lines, "  computed by our reading of the framework's rules; no conformity is claimed"]
