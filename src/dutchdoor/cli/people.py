"""`dutchdoor people …` and `dutchdoor grants …`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from dutchdoor.access.extraction import pool_text
from dutchdoor.access.model import Budget, ContentMode, Grant, MonitorMode
from dutchdoor.app.bundles import find_bundle
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.clock import to_iso
from dutchdoor.errors import Invalid, Refused
from dutchdoor.evidence.decision import Depth
from dutchdoor.ids import GrantId, KeyId

__all__ = ["grants", "people"]

DAY_MS = 86_400_000
DAYS_DEFAULT = 20
REQUESTS_DEFAULT = 1_000
TOKENS_DEFAULT = 200_000

people = typer.Typer(help="Who may call, and their API keys.", no_args_is_help=True)
grants = typer.Typer(help="What each person may do: their leases.", no_args_is_help=True)


@people.command("add")
@command
def add(
    name: Annotated[str, typer.Argument(help="The person's name.")],
    audience: Annotated[
        str, typer.Option(help="Their audience, a word of the decision: public, researcher, …")
    ],
    organisation: Annotated[str, typer.Option(help="Where they work.")] = "not stated",
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Add a person, who may do nothing yet."""
    opened = open_workspace(places_of(workspace))
    person = opened.access.add_person(name, organisation, audience, record=opened.record)
    Output(json_output).data(
        {"person": person.id, "name": name, "audience": audience},
        f"added {name} ({audience}): {person.id}",
    )


@people.command("list")
@command
def list_people(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """List the people, and how many grants each holds."""
    access = open_workspace(places_of(workspace)).access
    rows = [
        {
            "person": person.id,
            "name": person.name,
            "organisation": person.organisation,
            "audience": person.audience,
            "active": person.active,
            "grants": len([g for g in access.list_grants(person.id) if g.active]),
            "keys": len([k for k in access.list_keys(person.id) if k.revoked_ms is None]),
        }
        for person in access.list_people()
    ]
    lines = [
        f"{row['name']} ({row['audience']}{'' if row['active'] else ', removed'}): "
        f"{row['grants']} grants, {row['keys']} keys  {row['person']}"
        for row in rows
    ]
    Output(json_output).data(rows, "\n".join(lines) or "nobody yet")


@people.command("remove")
@command
def remove(
    name: Annotated[str, typer.Argument(help="The person's name or id.")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Remove a person: none of their keys and grants opens anything from now on."""
    opened = open_workspace(places_of(workspace))
    person = opened.access.find_person(name)
    opened.access.remove_person(person.id, reason, record=opened.record)
    Output(json_output).data({"person": person.id, "active": False}, f"removed {person.name}")


@people.command("key")
@command
def key(
    name: Annotated[str, typer.Argument(help="The person's name or id.")],
    out: Annotated[
        Path | None, typer.Option(help="Write the key to this new file, mode 0600.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="After so many days it opens nothing.")] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Issue an API key. It is shown once, and kept nowhere."""
    opened = open_workspace(places_of(workspace))
    person = opened.access.find_person(name)
    not_after_ms = None if days is None else opened.clock.now_ms() + days * DAY_MS
    handle = None if out is None else _new_file(out)
    issued = opened.access.issue_key(person.id, record=opened.record, not_after_ms=not_after_ms)
    output = Output(json_output)
    value: dict[str, Any] = {"key": issued.record.id, "person": person.id}
    if handle is None:
        text = issued.secret.reveal()
        output.data({**value, "api_key": text}, text)
        output.note(f"this is {person.name}'s key {issued.record.id}; it cannot be shown again")
        return
    with os.fdopen(handle, "w") as file:
        file.write(issued.secret.reveal() + "\n")
    output.data({**value, "file": str(out)}, f"{person.name}'s key {issued.record.id} is in {out}")


@people.command("keys")
@command
def list_keys(
    name: Annotated[str | None, typer.Argument(help="A person's name or id; default: all.")] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """List API keys by their public ids, which 'people revoke-key' takes."""
    access = open_workspace(places_of(workspace)).access
    person = None if name is None else access.find_person(name).id
    names = {row.id: row.name for row in access.list_people()}
    rows, lines = [], []
    for record in access.list_keys(person):
        times = {
            "issued": to_iso(record.issued_ms),
            "expires": None if record.not_after_ms is None else to_iso(record.not_after_ms),
            "revoked": None if record.revoked_ms is None else to_iso(record.revoked_ms),
        }
        owner = {"person": record.person, "name": names[record.person]}
        rows.append({"key": record.id, **owner, **times})
        told = [f"{word} {time}" for word, time in times.items() if time is not None]
        lines.append(f"{record.id}  {names[record.person]}: {', '.join(told)}")
    Output(json_output).data(rows, "\n".join(lines) or "no API keys yet")


@people.command("revoke-key")
@command
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY", help="The key's public id, key_….")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Revoke an API key; running streams under it are cut within a second."""
    opened = open_workspace(places_of(workspace))
    opened.access.revoke_key(KeyId(key_id), reason, record=opened.record)
    Output(json_output).data({"key": key_id, "revoked": True}, f"revoked {key_id}")


@grants.command("make")
@command
def make(
    name: Annotated[str, typer.Argument(help="The person's name or id.")],
    purpose: Annotated[str, typer.Option(help="What for; it is recorded.")],
    depth: Annotated[list[str], typer.Option(help="A depth, for instance sampling; repeat it.")],
    bundle: Annotated[str | None, typer.Option(help="Which bundle; default: the only one.")] = None,
    requests: Annotated[int, typer.Option(help="Requests in all.")] = REQUESTS_DEFAULT,
    tokens: Annotated[int, typer.Option(help="Tokens in all, in and out.")] = TOKENS_DEFAULT,
    vectors: Annotated[int, typer.Option(help="Independent vectors in all.")] = 0,
    days: Annotated[int, typer.Option(help="How long it lasts.")] = DAYS_DEFAULT,
    observe: Annotated[
        bool, typer.Option(help="The guard flags and does not block: auditors, red-teamers.")
    ] = False,
    keep_content: Annotated[
        bool, typer.Option(help="Keep what was asked and answered, not commitments alone.")
    ] = False,
    at_once: Annotated[int, typer.Option(help="Requests at the same time.")] = 4,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Grant a person access. It opens no more than the decision in force opens to them."""
    opened = open_workspace(places_of(workspace))
    person = opened.access.find_person(name)
    grant = opened.access.make_grant(
        person.id,
        find_bundle(opened, bundle).digest,
        purpose=purpose,
        depths=_depths(depth),
        budget=Budget(requests, tokens, vectors),
        not_after_ms=opened.clock.now_ms() + days * DAY_MS,
        content_mode=ContentMode.FULL if keep_content else ContentMode.COMMITMENT,
        monitor_mode=MonitorMode.OBSERVE if observe else MonitorMode.BLOCK,
        concurrency_max=at_once,
        record=opened.record,
    )
    Output(json_output).data(_value(grant), f"granted to {person.name}: {_told(grant)}")


@grants.command("list")
@command
def list_grants(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """List the grants, and what of each is used."""
    access = open_workspace(places_of(workspace)).access
    names = {person.id: person.name for person in access.list_people()}
    rows, lines = [], []
    for grant in access.list_grants():
        used = access.used(grant.id)
        rows.append(
            {
                **_value(grant),
                "used": {
                    "requests": used.requests,
                    "tokens": used.tokens,
                    "vectors": used.vectors,
                    "numbers": used.numbers,
                },
            }
        )
        state = "" if grant.active else "revoked, "
        lines.append(
            f"{names[grant.person]}: {state}{_told(grant)}; used {used.requests} requests, "
            f"{used.tokens} tokens, {used.vectors} vectors, {used.numbers} log-probabilities"
        )
    Output(json_output).data(rows, "\n".join(lines) or "no grants yet")


@grants.command("pool")
@command
def pool(
    bundle: Annotated[str | None, typer.Option(help="Which bundle; default: the only one.")] = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Say how many independent vectors of a bundle were released, over all people."""
    opened = open_workspace(places_of(workspace))
    found = find_bundle(opened, bundle)
    decision = opened.register.in_force(found.digest, opened.clock.now_ms()).decision
    released = opened.access.released(found.digest)
    Output(json_output).data(
        {
            "bundle": found.digest,
            "released": released,
            "allowed": decision.vectors_max,
            "hidden": decision.hidden_size,
        },
        f"{pool_text(released, decision.hidden_size)}; the decision in force allows "
        f"{decision.vectors_max}",
    )


@grants.command("revoke")
@command
def revoke(
    grant: Annotated[str, typer.Argument(help="The grant's id, grant_….")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")],
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Revoke a grant; running streams under it are cut within a second."""
    opened = open_workspace(places_of(workspace))
    opened.access.revoke_grant(GrantId(grant), reason, record=opened.record)
    Output(json_output).data({"grant": grant, "revoked": True}, f"revoked {grant}")


def _depths(names: list[str]) -> list[Depth]:
    depths = []
    for name in ",".join(names).split(","):
        try:
            depths.append(Depth(name.strip()))
        except ValueError as error:
            known = ", ".join(str(depth) for depth in Depth)
            message = f"'{name}' is not a depth"
            raise Invalid(message, code="unknown_depth", hint=f"there are: {known}") from error
    return depths


def _value(grant: Grant) -> dict[str, Any]:
    return {**grant.to_body(), "not_after": to_iso(grant.not_after_ms), "active": grant.active}


def _told(grant: Grant) -> str:
    depths = ", ".join(str(depth) for depth in grant.depths)
    budget = grant.budget
    return (
        f"{depths} for '{grant.purpose}' until {to_iso(grant.not_after_ms)[:10]}, at most "
        f"{budget.requests} requests, {budget.tokens} tokens, {budget.vectors} vectors "
        f"({grant.monitor_mode}, {grant.content_mode})  {grant.id}"
    )


def _new_file(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        hint = "name a new file; a key is never written over anything"
        raise Refused(f"{path} exists", code="file_exists", hint=hint) from error
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror}"
        raise Invalid(message, code="bad_file", hint="name a file in a folder of yours") from error
