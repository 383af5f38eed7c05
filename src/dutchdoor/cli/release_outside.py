"""`dutchdoor release profiles`, `outside-key`, `outside-add`, `outside-list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.outside import add_outside, make_outside_key, outside_names
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.errors import NotFound
from dutchdoor.evidence.statement import key_id
from dutchdoor.release.profiles.model import Profile
from dutchdoor.release.profiles.reading import load_profiles

__all__ = ["register"]

LINE_CHARS_MAX = 10_000


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("profiles")(profiles)
    app.command("outside-key")(outside_key)
    app.command("outside-add")(outside_add)
    app.command("outside-list")(outside_list)


@command
def profiles(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """List the deployment profiles: who outside must sign, be named, be obeyed."""
    opened = open_workspace(places_of(workspace))
    required = opened.config.release.profile
    found = load_profiles(opened.places.profiles).values()
    Output(json_output).data(
        [
            {
                "profile": row.name,
                "title": row.title,
                "what": row.what,
                "approvals": [{"duty": one.duty, "text": one.text} for one in row.approvals],
                "conditions": [{"by": one.by, "text": one.text} for one in row.conditions],
                "contacts": list(row.contacts),
                "review_days_max": row.review_days_max,
                "required": row.name == required,
            }
            for row in found
        ],
        "\n".join(_profile(row, required) for row in found),
    )


@command
def outside_key(
    name: Annotated[str, typer.Argument(help="Who signs with it: a regulator, an agency.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a signing key for somebody outside, on their own machine; print its public line."""
    public = make_outside_key(places_of(workspace), name)
    Output(json_output).data(
        {"name": name, "key": key_id(public.data), "line": public.line()}, public.line()
    )


@command
def outside_add(
    file: Annotated[Path, typer.Argument(help="A file with the public line of their key.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Trust a key as somebody's outside: a decision may then demand its signature.

    Only where the holder's key is. Whoever verifies elsewhere needs the new trust.json.
    """
    opened = open_workspace(places_of(workspace))
    key = add_outside(opened, _line(file))
    Output(json_output).data(
        {"key": key},
        f"trusted as outside: {key}\n  write it as 'key' into terms.outside of a decision.md;\n"
        f"  hand out {opened.places.trust} anew",
    )


@command
def outside_list(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """List those outside whose signature a decision may demand."""
    names = outside_names(open_workspace(places_of(workspace)))
    Output(json_output).data(
        [{"key": key, "name": name} for key, name in names.items()],
        "\n".join(f"{key}  {name}" for key, name in names.items()) or "nobody outside is trusted",
    )


def _profile(row: Profile, required: str) -> str:
    here = " (every decision here)" if row.name == required else ""
    lines = [f"{row.name}{here}: {row.title}", f"  {row.what}"]
    lines += [f"  signature from outside: {one.duty}, {one.text}" for one in row.approvals]
    lines += [f"  condition by {one.by}: {one.text}" for one in row.conditions]
    if row.contacts:
        lines.append(f"  contacts: {', '.join(row.contacts)}")
    if row.review_days_max:
        lines.append(f"  looked at again within {row.review_days_max} days")
    return "\n".join(lines)


def _line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(LINE_CHARS_MAX)
    except (OSError, UnicodeDecodeError) as error:
        hint = "the file holds the line that 'dutchdoor release outside-key' printed"
        raise NotFound(f"{path} cannot be read", code="no_file", hint=hint) from error
