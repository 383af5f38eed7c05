"""`dutchdoor custody add`, `lock`, `rewrap`, `list`: custodians' keys and how they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dutchdoor.app import keys
from dutchdoor.app.bundles import bundle_names, find_bundle
from dutchdoor.app.custody import drill_state
from dutchdoor.app.files import read_input
from dutchdoor.app.workspace import open_workspace
from dutchdoor.cli.frame import JsonOption, Output, WorkspaceOption, command, places_of
from dutchdoor.cli.secrets import SecretFdOption, asker
from dutchdoor.clock import to_iso
from dutchdoor.custody.age import TEXT_BYTES_MAX, read_age_identity
from dutchdoor.custody.identity import create_in_token, create_locked, kept_at, relock, rewrap
from dutchdoor.custody.locks import PassphraseLock
from dutchdoor.custody.ports import AskSecret, Identity, Lock
from dutchdoor.custody.token import TokenPlace
from dutchdoor.custody.transit import TransitLock
from dutchdoor.errors import Invalid

__all__ = ["register"]

PassphraseOption = Annotated[bool, typer.Option("--passphrase", help="Behind a passphrase.")]
KmsOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Behind OpenBao's or Vault's Transit at this URL.")
]
MountOption = Annotated[str, typer.Option(help="Where Transit is mounted.")]
KmsKeyOption = Annotated[str, typer.Option(help="The name of Transit's key; default: NAME.")]


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    app.command("add")(add)
    app.command("lock")(lock)
    app.command("rewrap")(rewrap_key)
    app.command("list")(list_custodians)


@command
def add(
    name: Annotated[str, typer.Argument(help="The custodian's name.")],
    passphrase: PassphraseOption = False,
    kms: KmsOption = None,
    kms_mount: MountOption = "transit",
    kms_key: KmsKeyOption = "",
    pkcs11: Annotated[
        Path | None, typer.Option(help="Inside a token, through this PKCS#11 library.")
    ] = None,
    token: Annotated[str, typer.Option(help="The token's label.")] = "",
    label: Annotated[str, typer.Option(help="The key's label in it; default: NAME.")] = "",
    age: Annotated[
        Path | None, typer.Option(help="Take over the key of this age identity file.")
    ] = None,
    secret_fd: SecretFdOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Make a custodian's key here. Its public line is what bundles are sealed to.

    Without a lock the key is a file that its owner alone may read: for trying out.
    """
    opened, ask = open_workspace(places_of(workspace)), asker(secret_fd)
    path = keys.custodian_path(opened.places, name)
    chosen = _lock(ask, name, passphrase=passphrase, kms=(kms, kms_mount, kms_key))
    if sum((chosen is not None, pkcs11 is not None)) > 1 or (pkcs11 is not None and age):
        message = "a key is kept in one place"
        raise Invalid(message, code="bad_lock", hint="give --passphrase, --kms or --pkcs11")
    identity: Identity | None = None
    if pkcs11 is not None:
        place = TokenPlace(str(pkcs11), token, label or name)
        identity = create_in_token(path, name, place, ask)
    elif chosen is not None:
        imported = None if age is None else read_age_identity(read_input(age, TEXT_BYTES_MAX))
        identity = create_locked(path, name, chosen, imported)
    elif age is not None:
        message = "a key from elsewhere is kept behind a lock"
        raise Invalid(message, code="bad_lock", hint="give --passphrase or --kms besides")
    if identity is not None:
        keys.write_public(opened.places, identity.public)
    public = keys.ensure_custodian(opened.places, name)
    kept = kept_at(path).lock if path.exists() else ""
    Output(json_output).data(
        {
            "custodian": name,
            "key": public.key_id,
            "lock": kept,
            "public": str(path.with_suffix(".pub")),
        },
        f"{name}: {public.key_id}\n  private key: {path}" + (f", behind: {kept}" if kept else ""),
    )


@command
def lock(
    name: Annotated[str, typer.Argument(help="The custodian's name.")],
    passphrase: PassphraseOption = False,
    kms: KmsOption = None,
    kms_mount: MountOption = "transit",
    kms_key: KmsKeyOption = "",
    secret_fd: SecretFdOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Put a custodian's key behind a lock, or another one. The key and its shares stay the same.

    Asks for what opens it now, then for what is to open it.
    """
    opened, ask = open_workspace(places_of(workspace)), asker(secret_fd)
    chosen = _lock(ask, name, passphrase=passphrase, kms=(kms, kms_mount, kms_key))
    if chosen is None:
        message = "say which lock"
        raise Invalid(message, code="bad_lock", hint="give --passphrase, or --kms URL")
    path = keys.custodian_path(opened.places, name)
    relock(path, ask, chosen)
    Output(json_output).data(
        {"custodian": name, "lock": chosen.kind}, f"{name} is behind: {chosen.kind}"
    )


@command
def rewrap_key(
    name: Annotated[str, typer.Argument(help="The custodian's name.")],
    secret_fd: SecretFdOption = None,
    workspace: WorkspaceOption = None,
    json_output: JsonOption = False,
) -> None:
    """Bring a custodian's key under the newest version of its key management service's key."""
    opened = open_workspace(places_of(workspace))
    rewrap(keys.custodian_path(opened.places, name), asker(secret_fd))
    Output(json_output).data({"custodian": name}, f"{name} is under the newest key")


@command
def list_custodians(workspace: WorkspaceOption = None, json_output: JsonOption = False) -> None:
    """List the custodians' private keys here, what they open together, and when that was proved."""
    opened = open_workspace(places_of(workspace))
    names = keys.custodian_names(opened.places)
    kept = {name: kept_at(keys.custodian_path(opened.places, name)) for name in names}
    present = {row.public.key_id: name for name, row in kept.items()}
    rows = []
    lines = [
        f"{name}: {row.public.key_id}, {row.lock or 'behind no lock'}" for name, row in kept.items()
    ]
    for name in bundle_names(opened.places):
        bundle = find_bundle(opened, name)
        custody = bundle.manifest.custody
        here = [present[key_id] for key_id in custody.custodians if key_id in present]
        quorum = len(here) >= custody.threshold
        drill = drill_state(opened, bundle)
        rows.append(
            {
                "bundle": name,
                "threshold": custody.threshold,
                "custodians": list(custody.custodians),
                "present": here,
                "quorum_present": quorum,
                "drilled_ms": drill.last_ms,
                "drill_due_ms": drill.due_ms,
                "drill_overdue": drill.overdue,
            }
        )
        lines.append(
            f"{name}: {custody.threshold} of {len(custody.custodians)} custodians open it, "
            f"{len(here)} present here" + (" (a quorum)" if quorum else "")
        )
        lines.append("  " + drill.text(to_iso))
    Output(json_output).data(rows, "\n".join(lines) or "no custodians here yet")


def _lock(
    ask: AskSecret, name: str, *, passphrase: bool, kms: tuple[str | None, str, str]
) -> Lock | None:
    url, mount, key = kms
    if passphrase and url is not None:
        message = "a key is behind one lock"
        raise Invalid(message, code="bad_lock", hint="give --passphrase or --kms, not both")
    if url is not None:
        return TransitLock(ask, url, mount, key or name)
    return PassphraseLock(ask) if passphrase else None
