"""Which key lies where in the embedded keyring.

Everything on one machine is for trying out: `docs/guides/keys-apart.md` says what to move first.
"""

from __future__ import annotations

import os
from pathlib import Path

from dutchdoor.access.keys import HashKey
from dutchdoor.config import Places, missing_hint
from dutchdoor.custody.identity import kept_at
from dutchdoor.custody.keyring import (
    CustodianKey,
    FileSigner,
    create_custodian_key,
    create_folder,
    load_custodian_key,
    load_secret,
    load_signing_key,
    parse_public_line,
)
from dutchdoor.custody.model import CustodianPublic, check_name
from dutchdoor.custody.public import custodian_of, public_line
from dutchdoor.errors import Invalid, NotFound

__all__ = [
    "access_key_path",
    "approver",
    "approver_path",
    "auditor",
    "auditor_path",
    "custodian_names",
    "custodian_path",
    "custodian_public",
    "ensure_custodian",
    "hash_key",
    "holder",
    "local_custodians",
    "log_signer",
    "may_record",
    "outside",
    "outside_path",
    "signer_names",
    "write_public",
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
    if path.with_suffix(".pub").is_file():
        return custodian_public(places, name)
    try:
        public = kept_at(path).public
    except NotFound:
        public = create_custodian_key(path, name).public
    write_public(places, public)
    return public


def custodian_public(places: Places, name: str) -> CustodianPublic:
    """A custodian's public key, of the `.pub` file: the private one may be on another machine.

    Raises NotFound: there is none. Raises Invalid: it is malformed or somebody else's.
    """
    public = custodian_path(places, name).with_suffix(".pub")
    try:
        text = public.read_text()
    except FileNotFoundError as error:
        hint = "ask this custodian for the file, or make a key: dutchdoor custody add NAME"
        raise NotFound(f"no key at {public}", code="key_not_found", hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{public} cannot be read", code="bad_public_key") from error
    found = custodian_of(parse_public_line(text))
    if found.name != name:
        raise Invalid(f"{public} is not the custodian key of {name}", code="bad_public_key")
    return found


def write_public(places: Places, public: CustodianPublic) -> Path:
    """Write a custodian's public line where this workspace looks for it."""
    path = custodian_path(places, public.name).with_suffix(".pub")
    create_folder(path.parent)
    path.write_text(public_line(public) + "\n")
    return path


def local_custodians(places: Places) -> list[CustodianKey]:
    """The custodians whose private keys are present here, in files that no lock protects."""
    paths = [custodian_path(places, name) for name in custodian_names(places)]
    rows = [(path, kept_at(path)) for path in paths]
    return [load_custodian_key(path, kept.public.kem) for path, kept in rows if not kept.lock]
