"""`dutchdoor custody host-key`, `enrol-host`, `hosts`, `remove-host`: which machines may open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.attesting import describe_host, enrol_host, read_host, remove_host
from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.config import Config, load_config
from dutchdoor.errors import NotFound, Refused
from dutchdoor.evidence.hosts import Host

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("host-key")(host_key)
    app.command("enrol-host")(enrol)
    app.command("hosts")(hosts)
    app.command("remove-host")(remove)


@command
def host_key(
    name: Annotated[str, typer.Argument(help="What to call this machine.")],
    out: Annotated[Path, typer.Option(help="A new file for the holder; nothing secret.")],
    register_names: Annotated[
        list[str] | None,
        typer.Option("--register", help="What it is judged by, as sha256:7; default 0, 2, 4, 7."),
    ] = None,
    existing: Annotated[
        bool, typer.Option("--existing", help="The key is there: only read the registers anew.")
    ] = False,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a key in this machine's TPM, and describe the machine as it booted now.

    Run it on the machine that runs bundles, in the state that shall be trusted.
    """
    try:
        config = load_config(places_of(workspace).config)
    except NotFound:
        if workspace is not None:
            raise
        config = Config()
    if out.exists():
        raise Refused(f"there is something at {out}", code="target_exists", hint="name a new file")
    out.write_bytes(
        describe_host(config, name, register_names or (), make_key=not existing) + b"\n"
    )
    host = read_host(out)
    Output(json_output).data(
        {"host": host.id, "name": host.name, "file": str(out)},
        f"{_text(host)}\nwrote {out}: carry it to the holder, and tell them {host.id} another way",
    )


@command
def enrol(
    file: Annotated[Path, typer.Argument(help="What host-key wrote on the machine.")],
    bundle: Annotated[
        list[str] | None, typer.Option(help="A bundle that it may open; default: any.")
    ] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Trust a machine to open bundles, in the state that it was in when it was described.

    Only where the holder's key is. Compare the id with the machine's own words: whoever carried
    the file could have changed it. Custodians elsewhere need the new trust.json.
    """
    opened = open_workspace(places_of(workspace))
    digests = [find_bundle(opened, name).digest for name in bundle or ()]
    host = enrol_host(opened, read_host(file), digests)
    Output(json_output).data(
        {"host": host.id, **host.to_value()}, f"{_text(host)}\ncompare this id with the machine's"
    )


@command
def hosts(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """List the machines that may open bundles, and what each must show."""
    found = open_workspace(places_of(workspace)).trust.hosts
    Output(json_output).data(
        [{"host": name, **host.to_value()} for name, host in found.items()],
        "\n".join(_text(host) for host in found.values()) or "no machine is enrolled",
    )


@command
def remove(
    host: Annotated[str, typer.Argument(help="Its id, as tpm:0011223344556677.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Trust a machine no more. What it has open stays open until it is stopped."""
    remove_host(open_workspace(places_of(workspace)), host)
    Output(json_output).data({"host": host, "removed": True}, f"{host} opens nothing any more")


def _text(host: Host) -> str:
    what = ", ".join(host.bundles) or "any bundle"
    rows = "".join(f"\n  {name} {value}" for name, value in sorted(host.measurements.items()))
    return f"{host.id} {host.name}: opens {what}{rows}"
