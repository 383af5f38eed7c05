"""Exports a package under the decision in force, with the custodians whose keys are here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from dutchdoor.app import keys
from dutchdoor.app.attesting import evidence_maker
from dutchdoor.app.bundles import Bundle
from dutchdoor.app.enforcing import Enforcement
from dutchdoor.app.governance import release_of
from dutchdoor.app.opening import custodians_here
from dutchdoor.app.workspace import Workspace
from dutchdoor.audit.outputs.material import gather
from dutchdoor.audit.outputs.service import build
from dutchdoor.audit.service import Audit
from dutchdoor.audit.summary import audit_keys, find_summary
from dutchdoor.config import Places
from dutchdoor.custody.opening import open_with_quorum
from dutchdoor.errors import Invalid, NotFound, Refused
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.register import InForce
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.evidence.trust import encode_trust
from dutchdoor.ids import random_part
from dutchdoor.release.export.check import (
    DECISION_NAME,
    DECISION_RECEIPT_NAME,
    EXPORT_RECEIPT_NAME,
    PACKAGE_KIND,
    STATEMENT_NAME,
)
from dutchdoor.release.export.conditions import must_be_open
from dutchdoor.release.export.package import OWN_FOLDER, Written, write_package
from dutchdoor.release.export.signing import PackageKey
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.reader import SealedBundle

__all__ = ["OUTPUTS", "Exported", "export_package", "package_key"]

OUTPUTS = ("model-card", "datasheet", "ml-bom", "spdx", "mof")
"""The outputs of the audit that go into a package, by their names."""
LICENCE_NAME = "LICENSE"
LICENCE_BYTES_MAX = 1 << 20
KEY_NAME = "package.key"
KEY_BYTES_MAX = 8_192


class Exported(NamedTuple):
    """A package in place. entry: its index in the log. key: its signature's public key, in PEM."""

    id: str
    decision: Decision
    entry: int
    key: bytes
    written: Written


def export_package(workspace: Workspace, bundle: Bundle, target: Path, licence: Path) -> Exported:
    """Write the package of `bundle` to `target`, which must not exist.

    licence: the text of the licence that the decision names for the weights.
    1. A decision in force opens the weights, and what runs and lies here is as it decided.
    2. Everything but the weights is made ready: a failure here has let nothing leave.
    3. `package_exported` is durable, under that decision.
    4. The custodians release their shares, each by its own checks.
    5. Weights, cards and decision are written and signed; then the folder gets its name.
    Raises NotInForce, Refused: it may not leave. Raises Invalid, NotFound: a part is missing.
    Raises Unavailable, Tampered: it cannot be recorded, opened or written.
    """
    if os.path.lexists(target):
        message = f"there is something at {target}"
        raise Refused(message, code="target_exists", hint="name a folder that does not exist yet")
    in_force = _in_force(workspace, bundle)
    decision = in_force.decision
    weights = must_be_open(decision)
    Enforcement(workspace, bundle.digest).check(decision, None, patient=False)
    _must_leave_room(workspace, decision)
    beside = _beside(workspace, decision, _licence(licence, weights.licence))
    key, identifier = package_key(workspace.places), "package_" + random_part(16)
    said = {
        "package": identifier,
        "bundle": decision.bundle,
        "decision": decision.id,
        "level": str(decision.level),
    }
    entry, proofs = _record(workspace, in_force, said, key)
    beside |= proofs
    written = _open_and_write(workspace, bundle, target, beside, key)
    return Exported(identifier, decision, entry, key.public_pem, written)


def _record(
    workspace: Workspace, in_force: InForce, said: dict[str, str], key: PackageKey
) -> tuple[int, dict[str, bytes]]:
    """The index of the durable entry, and what the package holds to prove itself."""
    now_ms = workspace.clock.now_ms()
    body = {**said, "key": key.fingerprint}
    index = workspace.record(Entry(EntryKind.PACKAGE_EXPORTED, now_ms, body)).index
    statement = {
        **said,
        "model": in_force.decision.model,
        "key": key.public_pem.decode(),
        "time_ms": now_ms,
    }
    envelope = sign_statement(PACKAGE_KIND, statement, [keys.holder(workspace.places)])
    return index, {
        STATEMENT_NAME: envelope,
        DECISION_NAME: _envelope(workspace, in_force),
        DECISION_RECEIPT_NAME: workspace.log.receipt(in_force.index),
        EXPORT_RECEIPT_NAME: workspace.log.receipt(index),
    }


def package_key(places: Places) -> PackageKey:
    """The key that signs this workspace's packages, made at its first use.

    The holder's statement in each package names it: it needs no place in trust.json.
    Raises Invalid: the file is none. Raises Refused: others may read it.
    """
    path = places.keyring / KEY_NAME
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        key = PackageKey.generate()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(key.to_pem())
            file.flush()
            os.fsync(file.fileno())
        return key
    with os.fdopen(handle, "rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o077:
            hint = f"chmod 600 {path}"
            raise Refused(f"others may read {path}", code="key_file_open", hint=hint)
        return PackageKey.from_pem(file.read(KEY_BYTES_MAX))


def _open_and_write(
    workspace: Workspace,
    bundle: Bundle,
    target: Path,
    beside: dict[str, bytes],
    key: PackageKey,
) -> Written:
    folder = open_folder(bundle.path, workspace.trust.holder)
    opened = open_with_quorum(
        folder.manifest.terms,
        shares=folder.shares,
        custodians=custodians_here(workspace, bundle),
        record=workspace.record,
        clock=workspace.clock,
        host=evidence_maker(workspace, _in_force(workspace, bundle).decision),
    )
    holders = workspace.trust.holder
    try:
        with SealedBundle.open(bundle.path, opened.key, holders, bundle=bundle.digest) as plain:
            return write_package(target, bundle.name, plain, beside, key)
    finally:
        opened.key.wipe()


def _in_force(workspace: Workspace, bundle: Bundle) -> InForce:
    workspace.register.refresh()
    return workspace.register.in_force(bundle.digest, workspace.clock.now_ms())


def _must_leave_room(workspace: Workspace, decision: Decision) -> None:
    most = decision.terms.custody.copies_max
    known = workspace.copies.count(decision.bundle) if most else 0
    if most and known >= most:
        message = f"{known} copies are known, the decision lets there be {most}, packages counted"
        hint = "decide anew with a larger terms.custody.copies_max, or none"
        raise Refused(message, code="custody_copies", hint=hint)


def _beside(workspace: Workspace, decision: Decision, licence: bytes) -> dict[str, bytes]:
    summary = find_summary(workspace.places.audits, decision.audit, audit_keys(workspace.trust))
    audit = Audit(workspace.places.audits / summary.audit, workspace.trust, workspace.clock)
    files: dict[str, bytes] = {LICENCE_NAME: licence}
    for file in build(gather(audit, decision), OUTPUTS):
        # Hugging Face shows the model card where it lies at the root.
        path = "README.md" if file.path == "model-card/README.md" else f"cards/{file.path}"
        files[path] = file.data
    files[f"{OWN_FOLDER}/decision.md"] = release_of(workspace).show(decision.id).encode()
    files[f"{OWN_FOLDER}/trust.json"] = encode_trust(workspace.trust)
    return files


def _licence(path: Path, identifier: str) -> bytes:
    hint = f"give the text of {identifier} as the decision's weights have it: --licence FILE"
    try:
        with path.open("rb") as file:
            data = file.read(LICENCE_BYTES_MAX + 1)
    except OSError as error:
        message = f"the licence at {path} cannot be read"
        raise NotFound(message, code="no_licence", hint=hint) from error
    if not data.strip() or len(data) > LICENCE_BYTES_MAX:
        raise Invalid(f"{path} is no licence's text", code="no_licence", hint=hint)
    return data


def _envelope(workspace: Workspace, in_force: InForce) -> bytes:
    import base64

    workspace.log.refresh()
    ((_, data),) = workspace.log.view.entries(in_force.index, in_force.index + 1)
    return base64.b64decode(Entry.decode(data).body["envelope"], validate=True)
