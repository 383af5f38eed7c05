"""`dutchdoor custody request`, `pending`, `open`: the side of the machine that has the bundle."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app.background import start_background, wait_ready
from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.ceremonies import Plan, Waiting, deposit, has_waiting, waiting
from dutchdoor.app.desk import fetch_grant, post_request
from dutchdoor.app.files import read_input, write_new
from dutchdoor.app.workspace import Workspace, open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import to_iso
from dutchdoor.custody.model import CustodyLimits
from dutchdoor.errors import Invalid, NotFound, Refused, Unavailable

__all__ = ["ExpiresOption", "lifetime_ms_of", "register"]

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000}
PULL_S = 0.5

ExpiresOption = Annotated[
    str,
    typer.Option(help="How long to wait for custodians elsewhere, as 30m or 4h; a day at most."),
]


def lifetime_ms_of(text: str) -> int:
    """Milliseconds of `30s`, `30m` or `4h`. Raises Invalid: none of these, or more than a day."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([smh])", text)
    lifetime_ms = int(match[1]) * _UNITS_MS[match[2]] if match else 0
    if not 0 < lifetime_ms <= CustodyLimits().ceremony_lifetime_ms_max:
        message = f"'{text}' is no time to wait"
        raise Invalid(message, code="bad_lifetime", hint="write it as 30m or 4h; a day at most")
    return lifetime_ms


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("request")(request)
    app.command("pending")(pending)
    app.command("open")(open_together)


@command
def request(
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the request here, to carry to custodians.")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option("--to", help="Send it to a custodian's desk; repeat it.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why it must be opened; starts a server that waits.")
    ] = None,
    expires: ExpiresOption = "1h",
    bundle: Annotated[
        str | None, typer.Option("--bundle", help="Which bundle; default: the only one.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Of the server; 0 for a free one.")] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Ask custodians on other machines to open a bundle. With --reason, start what waits for them.

    Without --reason, the request that waits already is written or sent once more.
    """
    places = places_of(workspace)
    opened, output = open_workspace(places), Output(json_output)
    if out is None and not to:
        message = "say where the request goes"
        raise Invalid(message, code="no_target", hint="give --out FILE, --to URL, or both")
    if reason is not None:
        plan = Plan("serve", reason, lifetime_ms_of(expires))
        found = find_bundle(opened, bundle)
        if has_waiting(places):
            message = "a request waits here already"
            raise Refused(message, code="already_waiting", hint="leave --reason away to send it")
        asked = ("--reason", plan.reason, "--expires", expires)
        start_background(places, found.name, port, asked)
    row = _the_waiting(opened, bundle)
    data = row.judged.ceremony.encode()
    if out is not None:
        write_new(out, data)
    for url in to or []:
        post_request(url, data)
    terms, asking = row.judged.manifest.terms, row.judged.request
    where = [*([str(out)] if out else []), *(to or [])]
    Output(json_output).data(
        {
            "request": asking.digest,
            "bundle": asking.bundle,
            "expires_ms": asking.expires_ms,
            "threshold": terms.threshold,
            "custodians": list(terms.custodians),
            "written": where,
        },
        f"asked for {terms.threshold} of {len(terms.custodians)} custodians "
        f"until {to_iso(asking.expires_ms)}: {', '.join(where)}\n  {asking.digest}",
    )
    output.note("each answers with 'dutchdoor custody grant'; then: dutchdoor custody open SHARE…")


@command
def pending(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """List the requests that wait here for custodians, and who has granted."""
    opened = open_workspace(places_of(workspace))
    rows = waiting(opened)
    Output(json_output).data(
        [
            {
                "request": row.judged.request.digest,
                "bundle": row.judged.request.bundle,
                "expires_ms": row.judged.request.expires_ms,
                "threshold": row.judged.manifest.terms.threshold,
                "granted": list(row.granted),
            }
            for row in rows
        ],
        "\n".join(
            f"{row.judged.request.digest[:23]}… {len(row.granted)} of "
            f"{row.judged.manifest.terms.threshold} shares, "
            f"until {to_iso(row.judged.request.expires_ms)}"
            + (f": {', '.join(row.granted)}" if row.granted else "")
            for row in rows
        )
        or "nothing waits here for custodians",
    )


@command
def open_together(
    shares: Annotated[
        list[Path] | None, typer.Argument(metavar="SHARE…", help="Files that custodians sent back.")
    ] = None,
    pull: Annotated[
        list[str] | None, typer.Option("--from", help="Fetch from a custodian's desk; repeat it.")
    ] = None,
    wait: Annotated[
        int, typer.Option(help="Seconds to wait for desks, and for what opens; 0: do not wait.")
    ] = 0,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Hand in the custodians' shares. With a quorum, and once recorded, what waited is opened."""
    places = places_of(workspace)
    opened, output = open_workspace(places), Output(json_output)
    decision, have, need, names = "", 0, 0, []
    for path in shares or []:
        taken = deposit(opened, read_input(path, CustodyLimits().message_bytes_max))
        have, need = taken.have, taken.need
        names.append(taken.name)
        output.note(f"{taken.name}: share {taken.have} of {taken.need}")
    for url in pull or []:
        taken = deposit(opened, _pulled(opened, url, wait))
        have, need = taken.have, taken.need
        names.append(taken.name)
        output.note(f"{taken.name}: share {taken.have} of {taken.need}")
    if not names:
        raise Invalid("no share was given", code="no_share", hint="give SHARE files, or --from URL")
    if have >= need and wait:
        decision = _wait_open(opened, wait)
    text = f"{have} of {need} shares are in" + (
        f"; open under {decision}" if decision else "; that is a quorum" if have >= need else ""
    )
    Output(json_output).data(
        {"taken": names, "have": have, "need": need, "decision": decision}, text
    )


def _the_waiting(workspace: Workspace, bundle: str | None) -> Waiting:
    digest = find_bundle(workspace, bundle).digest
    rows = [row for row in waiting(workspace) if row.judged.request.bundle == digest]
    if not rows:
        message = "nothing waits here for custodians"
        hint = "begin with: dutchdoor custody request --reason TEXT --out FILE"
        raise NotFound(message, code="no_opening", hint=hint)
    return rows[-1]


def _pulled(workspace: Workspace, url: str, s_max: int) -> bytes:
    data = _the_waiting(workspace, None).judged.ceremony.encode()
    end_s = time.monotonic() + s_max
    while True:
        grant = fetch_grant(url, data)
        if grant is not None:
            return grant
        if time.monotonic() >= end_s:
            message = f"the custodian at {url} has not answered yet"
            raise Unavailable(message, code="custodian_waits", hint="wait longer: --wait SECONDS")
        time.sleep(PULL_S)


def _wait_open(workspace: Workspace, s_max: int) -> str:
    """The decision that a server is open under; "" where something else was opened."""
    workspace.register.refresh()
    bundles = [row.judged.request.bundle for row in waiting(workspace)]
    digest = bundles[-1] if bundles else find_bundle(workspace, None).digest
    decision = workspace.register.in_force(digest, workspace.clock.now_ms()).decision.id
    return wait_ready(workspace.places, decision, float(s_max)).decision
