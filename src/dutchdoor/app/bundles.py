"""Bundles of a workspace: sealed under a birth decision, found again by name or digest."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dutchdoor import canonical
from dutchdoor.access.model import Person
from dutchdoor.app import keys
from dutchdoor.app.workspace import Workspace
from dutchdoor.config import Places
from dutchdoor.custody.model import ContentKey
from dutchdoor.errors import Invalid, NotFound, Unavailable
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.ports import Signer
from dutchdoor.ids import BundleDigest
from dutchdoor.release.compile import write_policies
from dutchdoor.release.service import sign_birth
from dutchdoor.release.standing import to_compile
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.model import COMPANION_SUFFIX, Manifest, Report, Sealed
from dutchdoor.weights.public import Public
from dutchdoor.weights.seal import SEALED_SUFFIX, refer_to_decision, seal_folder

__all__ = [
    "Born",
    "Bundle",
    "bundle_names",
    "find_bundle",
    "hidden_size_of",
    "probe_path",
    "seal",
    "take_over_inventory",
]

CONFIG_BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A sealed bundle in this workspace, its manifest verified against the holder's key."""

    name: str
    path: Path
    manifest: Manifest

    @property
    def digest(self) -> BundleDigest:
        return self.manifest.digest


@dataclass(frozen=True)
class InventoryRow:
    """One file as it went into a bundle; size in bytes.

    No digest of its plaintext: that would tell anybody who has a copy what the bundle holds.
    """

    path: str
    size: int


@dataclass(frozen=True)
class Born:
    """A bundle just sealed, and the decision it was born under."""

    bundle: Bundle
    decision: Decision


def bundle_names(places: Places) -> list[str]:
    """The names of the bundles in this workspace, sorted."""
    return sorted(path.name.removesuffix(SEALED_SUFFIX) for path in _folders(places))


def find_bundle(workspace: Workspace, name: str | None) -> Bundle:
    """The bundle of this name, digest or path; without one, the only bundle there is.

    Raises NotFound: none, or several and no name. Raises Invalid, Tampered: it does not verify.
    """
    places = workspace.places
    folders = _folders(places)
    if name is None:
        if len(folders) != 1:
            known = ", ".join(bundle_names(places)) or "none; seal one with 'dutchdoor seal'"
            message = f"{len(folders)} bundles in this workspace; say which"
            raise NotFound(message, code="bundle_not_found", hint=f"--bundle NAME, of: {known}")
        return _open(workspace, folders[0])
    for path in folders:
        if path.name.removesuffix(SEALED_SUFFIX) == name.removesuffix(SEALED_SUFFIX):
            return _open(workspace, path)
    if name.startswith("sha256:"):
        for path in folders:
            bundle = _open(workspace, path)
            if bundle.digest == name:
                return bundle
    known = ", ".join(bundle_names(places)) or "none; seal one with 'dutchdoor seal'"
    raise NotFound(f"no bundle '{name}' here", code="bundle_not_found", hint=f"there are: {known}")


def seal(
    workspace: Workspace,
    source: Path,
    name: str,
    *,
    quorum: tuple[int, int],
    custodians: Sequence[str],
    auditors: Sequence[Person],
    shown: Public | None = None,
    show_tensors: bool = False,
    resume: ContentKey | None = None,
    report: Report | None = None,
) -> Born:
    """A new bundle of `source`, born under a decision that lets only `auditors` in.

    The plaintext folder is read once and not needed afterwards. Where the record fails, no bundle
    is left behind. shown, show_tensors: what anybody may see of it. resume: the key of the draft
    that an earlier try left.
    Raises as `weights.seal.seal_folder` does. Raises Invalid: no auditor, or the names of the
    custodians are not as many as the quorum says.
    """
    threshold, count = quorum
    if len(set(custodians)) != count:
        message = f"{count} custodians are needed, {len(set(custodians))} are named"
        raise Invalid(message, code="bad_quorum", hint="give --custodian NAME that often, or never")
    if not auditors:
        message = "a bundle is born under a decision that names its auditors"
        raise Invalid(message, code="no_auditor", hint="give --auditor NAME")
    hidden_size = hidden_size_of(source)
    name = name.removesuffix(SEALED_SUFFIX)
    target = workspace.places.bundles / f"{name}{SEALED_SUFFIX}"
    public = [keys.ensure_custodian(workspace.places, custodian) for custodian in custodians]
    holder = keys.holder(workspace.places)
    sealed = seal_folder(
        source,
        target,
        model=name,
        holder=holder,
        custodians=public,
        threshold=threshold,
        clock=workspace.clock,
        public=shown,
        show_tensors=show_tensors,
        keep_draft=True,
        resume=resume,
        report=report,
    )
    decision = _bear(
        workspace, source, target, sealed, holder=holder, hidden_size=hidden_size, auditors=auditors
    )
    manifest = sealed.manifest
    with suppress(Unavailable):
        # For whoever has the folder alone; what is in force, the log says without it.
        manifest = refer_to_decision(target, manifest, decision.id, holder)
    workspace.register.refresh()
    decisions = to_compile(workspace.register, workspace.clock.now_ms())
    write_policies(workspace.places.policies, decisions)
    return Born(Bundle(name, target, manifest), decision)


def _bear(
    workspace: Workspace,
    source: Path,
    target: Path,
    sealed: Sealed,
    *,
    holder: Signer,
    hidden_size: int,
    auditors: Sequence[Person],
) -> Decision:
    """Records the bundle and its first decision, or takes the bundle away again."""
    manifest = sealed.manifest
    inventory = _inventory_path(workspace.places, manifest.content.model)
    try:
        value = {"bundle": sealed.digest, "files": _list_files(source)}
        _write_inventory(inventory, canonical.encode(value))
        body = {
            "bundle": sealed.digest,
            "model": manifest.content.model,
            "custodians": list(manifest.custody.custodians),
            "threshold": manifest.custody.threshold,
        }
        workspace.record(Entry(EntryKind.BUNDLE_SEALED, workspace.clock.now_ms(), body))
        return sign_birth(
            bundle=sealed.digest,
            model=manifest.content.model,
            hidden_size=hidden_size,
            auditors=[person.id for person in auditors],
            holder=holder,
            record=workspace.record,
            clock=workspace.clock,
        )
    except BaseException:
        # A bundle without a decision could never be opened; without a record it must not exist.
        shutil.rmtree(target, ignore_errors=True)
        inventory.unlink(missing_ok=True)
        raise


def probe_path(bundle: Bundle, digest: str) -> Path:
    """Where a bundle's probe of this digest lies: sealed, among the bundle's own files.

    Raises Invalid: not a digest.
    """
    if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) is None:
        raise Invalid("not the digest of a probe", code="bad_probe_digest")
    return bundle.path / f"probe-{digest.removeprefix('sha256:')}{COMPANION_SUFFIX}"


def inventory_of(workspace: Workspace, bundle: Bundle) -> list[InventoryRow]:
    """What went into a bundle, by the list its holder keeps; the sealed bundle itself hides names.

    Raises NotFound: there is no list. Raises Invalid: it is of another bundle, or malformed.
    """
    path = _inventory_path(workspace.places, bundle.name)
    try:
        value = canonical.parse(path.read_bytes())
        rows = [InventoryRow(row["path"], row["size"]) for row in value["files"]]
        found = value["bundle"]
    except FileNotFoundError as error:
        hint = "the list is made when a bundle is sealed; seal it here again, or bring the list"
        raise NotFound(f"no list of files at {path}", code="no_inventory", hint=hint) from error
    except (KeyError, TypeError) as error:
        raise Invalid(f"{path} is not a list of files", code="bad_inventory") from error
    if found != bundle.digest:
        raise Invalid(f"{path} is of another bundle", code="bad_inventory")
    return rows


def take_over_inventory(
    workspace: Workspace, bundle: Bundle, name: str, digest: BundleDigest
) -> None:
    """Keep the list of what went into `bundle` for the one of `name` that was sealed from it."""
    try:
        rows = inventory_of(workspace, bundle)
    except NotFound:
        return
    value = {"bundle": digest, "files": [{"path": r.path, "size": r.size} for r in rows]}
    _write_inventory(_inventory_path(workspace.places, name), canonical.encode(value))


def hidden_size_of(source: Path) -> int:
    """h of a model folder, from its config.json.

    Raises Invalid: no model folder, or a config without a hidden size.
    """
    path = source / "config.json"
    hint = "give a model folder with config.json, safetensors and tokenizer files"
    try:
        if path.stat().st_size > CONFIG_BYTES_MAX:
            raise Invalid(f"{path} is too large", code="bad_model_folder", hint=hint)
        config = json.loads(path.read_text())
        hidden = config.get("hidden_size", config.get("text_config", {}).get("hidden_size"))
    except (OSError, ValueError, AttributeError) as error:
        message = f"{source} is not a model folder"
        raise Invalid(message, code="bad_model_folder", hint=hint) from error
    if not isinstance(hidden, int) or isinstance(hidden, bool) or hidden <= 0:
        message = f"{path} states no hidden_size"
        raise Invalid(message, code="bad_model_folder", hint=hint)
    return hidden


def _list_files(source: Path) -> list[dict[str, Any]]:
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    return [
        {"path": path.relative_to(source).as_posix(), "size": path.stat().st_size} for path in paths
    ]


def _inventory_path(places: Places, name: str) -> Path:
    return places.inventory / f"{name}.json"


def _write_inventory(path: Path, data: bytes) -> None:
    """Apart from the sealed folder, which is copied to where file names must not reach."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def _folders(places: Places) -> list[Path]:
    return sorted(path for path in places.bundles.glob(f"*{SEALED_SUFFIX}") if path.is_dir())


def _open(workspace: Workspace, path: Path) -> Bundle:
    manifest = open_folder(path, workspace.trust.holder).manifest
    return Bundle(path.name.removesuffix(SEALED_SUFFIX), path, manifest)
