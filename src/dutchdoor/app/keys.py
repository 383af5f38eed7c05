"""Which key lies where in the embedded keyring.

Everything on one machine is for trying out: `docs/guides/keys-apart.md` says what to move first.
"""

from __future__ import annotations

import os
from pathlib import Path

from dutchdoor.access.keys import HashKey
from dutchdoor.config import Places, missing_hint
from dutchdoor.custody.keyring import (
    CustodianKey,
    FileSigner,
    create_custodian_key,
    load_custodian_key,
    load_secret,
    load_signing_key,
    parse_public_line,
)
from dutchdoor.custody.model import CustodianPublic, check_name
from dutchdoor.errors import Invalid, NotFound

__all__ = [
    "access_key_path",
    "approver",
    "approver_path",
    "auditor",
    "auditor_path",
    "custodian_names",
    "custodian_path",
    "ensure_custodian",
    "hash_key",
    "holder",
    "local_custodians",
    "log_signer",
    "may_record",
    "outside",
    "outside_path",
    "signer_names",
]


def access_key_path(places: Places) -> Path:
    """The secret under which API keys are hashed."""
    return places.keyring / "access.key"


def hash_key(places: Places) -> HashKey:
    """The key under which the keys of people are hashed.

    Raises NotFound: it is lost. Raises Refused: others may read it. Raises Invalid: malformed.
    """
    path = access_key_path(places)
    try:
        return HashKey(load_secret(path))
    except NotFound as error:
        hint = missing_hint(places.root, "the key of its people's keys, keyring/access.key")
        raise NotFound(f"{path} does not exist", code="no_access_key", hint=hint) from error


def log_signer(places: Places) -> FileSigner:
    """The key that signs the log's checkpoints."""
    return load_signing_key(places.keyring / "log.key")


def may_record(places: Places) -> bool:
    """Whether the log's key lies here. Where it does and cannot be used, recording says why."""
    return os.path.lexists(places.keyring / "log.key")


def holder(places: Places) -> FileSigner:
    """The holder's key: seals bundles, signs a bundle's birth decision."""
    return load_signing_key(places.keyring / "holder.key")


def approver_path(places: Places, name: str) -> Path:
    """Where the embedded keyring keeps an approver's key."""
    return places.keyring / "approvers" / f"{check_name(name)}.key"


def approver(places: Places, name: str, path: Path | None = None) -> FileSigner:
    """An approver's key, from the embedded keyring or from `path`.

    Raises NotFound: there is none of that name here.
    """
    return load_signing_key(path or approver_path(places, name))


def auditor_path(places: Places, name: str) -> Path:
    """Where the embedded keyring keeps an auditor's key."""
    return places.keyring / "auditors" / f"{check_name(name)}.key"


def auditor(places: Places, name: str) -> FileSigner:
    """An auditor's key, from the embedded keyring.

    Raises NotFound: there is none of that name here.
    """
    return load_signing_key(auditor_path(places, name))


def outside_path(places: Places, name: str) -> Path:
    """Where the embedded keyring keeps the key of somebody outside: a regulator, a panel."""
    return places.keyring / "outside" / f"{check_name(name)}.key"


def outside(places: Places, name: str) -> FileSigner:
    """The key of somebody outside, from the embedded keyring.

    Raises NotFound: there is none of that name here.
    """
    return load_signing_key(outside_path(places, name))


def signer_names(places: Places) -> list[str]:
    """The auditors, approvers and people outside whose private keys are present here, sorted."""
    folders = (places.keyring / name for name in ("auditors", "approvers", "outside"))
    return sorted(path.stem for folder in folders for path in folder.glob("*.key"))


def custodian_path(places: Places, name: str) -> Path:
    """Where the embedded keyring keeps a custodian's key."""
    return places.keyring / "custodians" / f"{check_name(name)}.key"


def custodian_names(places: Places) -> list[str]:
    """The custodians whose private keys are present here, sorted."""
    return sorted(path.stem for path in (places.keyring / "custodians").glob("*.key"))


def ensure_custodian(places: Places, name: str) -> CustodianPublic:
    """A custodian's public key: of the `.pub` file beside, of their key, or of a new one.

    Raises Invalid: the public line is malformed or somebody else's.
    """
    path = custodian_path(places, name)
    public = path.with_suffix(".pub")
    if public.is_file():
        line = parse_public_line(public.read_text())
        if line.name != name or str(line.kind) != "xwing":
            raise Invalid(f"{public} is not the custodian key of {name}", code="bad_public_key")
        return CustodianPublic(line.name, line.data)
    try:
        key = load_custodian_key(path)
    except NotFound:
        key = create_custodian_key(path, name)
    public.write_text(key.line() + "\n")
    return key.public


def local_custodians(places: Places) -> list[CustodianKey]:
    """The custodians whose private keys are present here."""
    return [load_custodian_key(custodian_path(places, n)) for n in custodian_names(places)]
