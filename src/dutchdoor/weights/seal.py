"""Sealing: a model's folder in, an encrypted bundle out, and no plaintext on the way.

The files are read once, slot by slot; memory stays at a few slots whatever the model's size. The
bundle grows in a draft beside its place and appears there whole, by one rename, after everything
in it is on disk. The content key exists only in this process's memory and leaves it only split and
wrapped to the custodians: at the end into the bundle, and where a draft may be gone on with
(`draft.py`), at the beginning into the draft.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dutchdoor import canonical
from dutchdoor.clock import Clock
from dutchdoor.custody.model import CONTENT_KEY_BYTES, ContentKey, CustodianPublic
from dutchdoor.custody.shares import check_quorum, key_commitment, wrap_shares
from dutchdoor.durable import sync_folder, write_durably
from dutchdoor.errors import Invalid, Refused, Unavailable
from dutchdoor.evidence.ports import Signer
from dutchdoor.weights.draft import Draft, DraftFolder, check_resumed, draft_path, read_draft
from dutchdoor.weights.format import file_set_digest
from dutchdoor.weights.model import (
    MANIFEST_NAME,
    SHARES_NAME,
    Content,
    Custody,
    Manifest,
    Progress,
    Report,
    Sealed,
    SealLimits,
)
from dutchdoor.weights.public import NOTHING_SHOWN, Public, check_public_text, table_of_indices
from dutchdoor.weights.scan import SourceFile, scan_folder
from dutchdoor.weights.seal_file import Randomness, SealRun, seal_file

__all__ = ["SEALED_SUFFIX", "Randomness", "refer_to_decision", "seal_folder"]

SEALED_SUFFIX = ".sealed"


class _Plan(NamedTuple):
    """What is to become what, and whose."""

    source: Path
    target: Path
    model: str
    holder: Signer
    custodians: tuple[CustodianPublic, ...]
    threshold: int
    keep_draft: bool

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(custodian.key_id for custodian in self.custodians)

    def begin(self, key: ContentKey, content_id: str) -> tuple[DraftFolder, Draft]:
        draft = Draft(self.model, content_id, key_commitment(key), self.threshold, self.ids)
        path = draft_path(self.target)
        if not self.keep_draft:
            # Nobody goes on with it: a name of its own, as several may seal to one place.
            return DraftFolder.begin(path.with_name(f"{path.name}.{secrets.token_hex(8)}")), draft
        folder = DraftFolder.begin(path)
        try:
            folder.commit(draft, key, self.custodians, self.holder)
        except BaseException:
            folder.remove()
            raise
        return folder, draft

    def resume(self, key: ContentKey) -> tuple[DraftFolder, Draft]:
        folder = DraftFolder.resume(draft_path(self.target))
        try:
            draft = read_draft(self.target, self.holder.public_key).draft
            check_resumed(draft, key, Draft(self.model, "", "", self.threshold, self.ids))
        except BaseException:
            folder.release()
            raise
        return folder, draft


def seal_folder(
    source: Path,
    target: Path,
    *,
    model: str,
    holder: Signer,
    custodians: Sequence[CustodianPublic],
    threshold: int,
    clock: Clock,
    public: Public | None = None,
    show_tensors: bool = False,
    keep_draft: bool = False,
    resume: ContentKey | None = None,
    report: Report | None = None,
    random_bytes: Randomness = secrets.token_bytes,
) -> Sealed:
    """A new bundle at `target` (a path that ends in `.sealed`) of every file below `source`.

    model: the public name, 1 to 128 characters. threshold: how many custodians open together.
    public: what anybody may see. show_tensors: their table too, without values.
    keep_draft: a sealing that is killed, or finds no room, leaves a draft that can be gone on
    with. resume: the key of such a draft, from its custodians (`read_draft`, then `combine`); it is
    wiped.
    random_bytes: for vectors alone; the key comes from it.
    Raises Refused: an unsafe file, `target` or a draft exists, or the draft is of something else.
    Raises Invalid: no such quorum, a broken safetensors file, a name out of bounds, a file that
    changed meanwhile, or not the draft's key. Raises NotFound: no draft to go on with.
    Raises Unavailable: no room, or no access. Whatever is raised, no bundle is left, and no draft
    unless it was to be kept and can be gone on with.
    """
    public = public or NOTHING_SHOWN
    _check_arguments(target, model, public)
    check_quorum(threshold, len(custodians))
    plan = _Plan(source, target, model, holder, tuple(custodians), threshold, keep_draft)
    sources = scan_folder(source)
    key = resume or ContentKey(random_bytes(CONTENT_KEY_BYTES))
    try:
        if resume is None:
            folder, draft = plan.begin(key, random_bytes(32).hex())
        else:
            folder, draft = plan.resume(key)
        with folder, ThreadPoolExecutor(1, "seal-write") as writer:
            run = SealRun(
                key=key,
                content_id=draft.content_id,
                random_bytes=random_bytes,
                report=report or _silent,
                total_bytes=sum(file.size for file in sources),
                writer=writer,
                resumes=resume is not None,
            )
            content = _seal_files(
                run, folder.bundle, sources, model=model, public=public, show_tensors=show_tensors
            )
            manifest = _close(folder.bundle, key, content, plan, clock)
            _publish(folder.bundle, target)
            folder.keeps = False
    except OSError as error:
        message = f"the bundle cannot be written: {error.strerror}"
        hint = "make room on the disk, or choose another place with -o"
        if keep_draft or resume is not None:
            hint = "make room on the disk, then go on with --resume"
        raise Unavailable(message, code="seal_unavailable", hint=hint) from error
    finally:
        key.wipe()
    return Sealed(manifest, content.digest)


def refer_to_decision(path: Path, manifest: Manifest, decision: str, holder: Signer) -> Manifest:
    """The manifest of the bundle at `path`, signed again with the decision it is published with.

    Replaced in one step; the bundle's digest stays.
    Raises Invalid: a text out of bounds. Raises Unavailable: it cannot be written.
    """
    changed = replace(manifest, decision=check_public_text(decision))
    # Not inside the bundle: a reader meanwhile would find a file that does not belong to it.
    draft = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        write_durably(draft, changed.sign(holder))
        draft.replace(path / MANIFEST_NAME)
        sync_folder(path)
    except OSError as error:
        message = f"the manifest cannot be written: {error.strerror}"
        hint = "make room on the disk"
        raise Unavailable(message, code="seal_unavailable", hint=hint) from error
    finally:
        draft.unlink(missing_ok=True)
    return changed


def _check_arguments(target: Path, model: str, public: Public) -> None:
    for text in (public.licence, public.origin):
        check_public_text(text)
    largest = SealLimits().model_name_chars_max
    if not 0 < len(model) <= largest or not model.isprintable():
        message = f"a model's name has 1 to {largest} printable characters"
        raise Invalid(message, code="bad_model_name", hint="choose another name")
    if target.suffix != SEALED_SUFFIX:
        message = "a bundle's folder ends in .sealed"
        raise Invalid(message, code="bad_target", hint=f"use {target.name}{SEALED_SUFFIX}")
    if os.path.lexists(target):
        message = f"{target} exists already"
        hint = "choose another place; a bundle is never overwritten"
        raise Refused(message, code="target_exists", hint=hint)
    if not target.parent.is_dir():
        message = f"there is no folder {target.parent}"
        raise Invalid(message, code="bad_target", hint="make the folder first")


def _seal_files(
    run: SealRun,
    folder: Path,
    sources: Sequence[SourceFile],
    *,
    model: str,
    public: Public,
    show_tensors: bool,
) -> Content:
    files = tuple(seal_file(run, folder, number, s) for number, s in enumerate(sources))
    if show_tensors:
        public = replace(public, tensors=table_of_indices(run.indices))
    file_set = file_set_digest(run.key, run.content_id, run.indices)
    return Content(model, run.content_id, key_commitment(run.key), file_set, files, public)


def _close(
    folder: Path,
    key: ContentKey,
    content: Content,
    plan: _Plan,
    clock: Clock,
) -> Manifest:
    """Writes shares and manifest into the folder; what an earlier try left is replaced."""
    shares = wrap_shares(
        key, bundle=content.digest, custodians=plan.custodians, threshold=plan.threshold
    ).encode()
    custody = Custody(plan.threshold, plan.ids, "sha256:" + canonical.sha256_hex(shares))
    manifest = Manifest(content, custody, clock.now_ms())
    signed = manifest.sign(plan.holder)
    if len(signed) > SealLimits().manifest_bytes_max:
        message = "the table of tensors is too long for a manifest"
        raise Invalid(message, code="bad_manifest", hint="seal without showing the tensors")
    known = {file.name for file in content.files}
    for stray in sorted(path for path in folder.iterdir() if path.name not in known):
        stray.unlink()
    write_durably(folder / SHARES_NAME, shares)
    write_durably(folder / MANIFEST_NAME, signed)
    return manifest


def _publish(draft: Path, target: Path) -> None:
    sync_folder(draft)
    if os.path.lexists(target):
        raise Refused(f"{target} exists already", code="target_exists", hint="choose another")
    # A rename onto a folder that has come meanwhile fails unless that folder is empty.
    draft.rename(target)
    sync_folder(target.parent)


def _silent(progress: Progress) -> None:
    """Nobody is watching."""
