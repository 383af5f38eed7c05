"""Other custodians for a bundle that stays as it is: its key is split and wrapped anew.

1. The present quorum opens the content key to this process, as to a runtime: under the decision in
   force, recorded first.
2. The key is split and wrapped to the new custodians; the holder signs the new manifest.
3. A second folder is made beside the first: the same sealed files by hard links, and the new
   manifest and shares. Not one byte of the weights is read.
4. `custody_rotated` is durable.
5. The two folders change places in one step of the file system, and the former one is removed.

Rotation takes nothing back: an old shares.json still opens with its old quorum. Whoever must be
shut out for certain needs another key: `app.resealing`.
"""

from __future__ import annotations

import base64
import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dutchdoor.app import keys
from dutchdoor.app.attesting import evidence_maker
from dutchdoor.app.bundles import Bundle
from dutchdoor.app.ceremonies import Plan, hold
from dutchdoor.app.opening import custodians_here
from dutchdoor.app.workspace import Workspace
from dutchdoor.custody.demands import check_custody
from dutchdoor.custody.model import CustodianPublic
from dutchdoor.custody.opening import Opened, Opening, open_with_quorum
from dutchdoor.custody.shares import check_quorum, wrap_shares
from dutchdoor.durable import sync_folder, write_durably
from dutchdoor.errors import DutchdoorError, Invalid, Refused, Unavailable
from dutchdoor.evidence.decision import Decision
from dutchdoor.evidence.model import Entry, EntryKind
from dutchdoor.evidence.statement import sign_statement
from dutchdoor.weights.folder import open_folder
from dutchdoor.weights.model import MANIFEST_NAME, SHARES_NAME, Custody, Manifest

__all__ = ["Rotated", "open_key", "rotate"]

ROTATION_KIND = "custody_rotation"
DRAFT_SUFFIX = ".rotating"
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100

Say = Callable[[str], None]


class Rotated(NamedTuple):
    """A rotation that is done. before, after: key ids of the custodians. entry: of the log."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    threshold: int
    entry: int

    @property
    def kept(self) -> tuple[str, ...]:
        """Key ids of those who hold a share of both splits."""
        return tuple(key for key in self.after if key in self.before)


def rotate(
    workspace: Workspace,
    bundle: Bundle,
    custodians: Sequence[CustodianPublic],
    threshold: int,
    reason: str,
    *,
    plan: Plan | None = None,
    say: Say = lambda _text: None,
) -> Rotated:
    """Wrap the key of `bundle` to `custodians`, `threshold` of whom open it from now on.

    plan: the present custodians are elsewhere, and are asked in a ceremony.
    Raises NotInForce, Refused: no decision is, the present quorum does not open it, or the decision
    demands more of custody than this. Raises Invalid: no such quorum. Raises Unavailable: the disk
    or the log; the bundle is as it was.
    """
    check_quorum(threshold, len(custodians))
    if not reason.strip():
        raise Invalid("say why", code="no_reason", hint="give --reason TEXT")
    draft = bundle.path.with_name(f".{bundle.path.name}{DRAFT_SUFFIX}")
    _finish_or_forget(workspace, bundle, draft)
    holder = keys.holder(workspace.places)
    folder = open_folder(bundle.path, workspace.trust.holder)
    workspace.register.refresh()
    decision = workspace.register.in_force(bundle.digest, workspace.clock.now_ms()).decision
    _must_exchange(bundle.path.parent)
    opened = open_key(workspace, bundle, plan, say)
    try:
        shares = wrap_shares(
            opened.key, bundle=bundle.digest, custodians=custodians, threshold=threshold
        )
    finally:
        opened.key.wipe()
    known = workspace.copies.count(bundle.digest)
    # No host asks here: the grade is for whoever opens the bundle next.
    check_custody(decision.terms.custody, shares, known, None)
    named = tuple(custodian.key_id for custodian in custodians)
    manifest = replace(folder.manifest, custody=Custody(threshold, named, shares.digest))
    body = {
        "bundle": bundle.digest,
        "custodians": list(named),
        "threshold": threshold,
        "shares": shares.digest,
        "reason": reason.strip(),
    }
    envelope = base64.b64encode(sign_statement(ROTATION_KIND, body, [holder])).decode()
    entry = Entry(
        EntryKind.CUSTODY_ROTATED, workspace.clock.now_ms(), {**body, "envelope": envelope}
    )
    try:
        _prepare(bundle.path, draft, manifest.sign(holder), shares.encode())
        open_folder(draft, workspace.trust.holder)
        recorded = workspace.record(entry)
    except BaseException as error:
        shutil.rmtree(draft, ignore_errors=True)
        if isinstance(error, OSError):
            raise _unavailable(error) from error
        raise
    try:
        # From the entry on it is done: what is broken off here, the next rotation completes.
        _exchange(draft, bundle.path)
    except OSError as error:
        raise _unavailable(error) from error
    shutil.rmtree(draft, ignore_errors=True)
    return Rotated(folder.manifest.custody.custodians, named, threshold, recorded.index)


def open_key(workspace: Workspace, bundle: Bundle, plan: Plan | None, say: Say) -> Opened:
    """The content key of `bundle`, opened to this process by its present quorum, recorded first.

    The caller wipes it. Raises as `ceremonies.hold` and `custody.opening.open_with_quorum`.
    """
    folder = open_folder(bundle.path, workspace.trust.holder)
    terms = folder.manifest.terms
    if plan is None:
        return open_with_quorum(
            terms,
            shares=folder.shares,
            custodians=custodians_here(workspace, bundle),
            record=workspace.record,
            clock=workspace.clock,
            host=evidence_maker(workspace, _decision(workspace, bundle)),
        )
    opening = Opening(bundle.digest, workspace.clock, lifetime_ms=plan.lifetime_ms)
    releases = hold(workspace, bundle, opening.request, plan, say=say)
    return opening.finish(releases, terms)


def _decision(workspace: Workspace, bundle: Bundle) -> Decision:
    return workspace.register.in_force(bundle.digest, workspace.clock.now_ms()).decision


def _prepare(source: Path, draft: Path, manifest: bytes, shares: bytes) -> None:
    draft.mkdir(mode=0o755)
    for path in sorted(source.iterdir()):
        if path.name not in (MANIFEST_NAME, SHARES_NAME):
            os.link(path, draft / path.name, follow_symlinks=False)
    for name, data in ((SHARES_NAME, shares), (MANIFEST_NAME, manifest)):
        write_durably(draft / name, data)
    sync_folder(draft)


def _finish_or_forget(workspace: Workspace, bundle: Bundle, draft: Path) -> None:
    """What a rotation that was killed left: completed where it was recorded, else removed.

    Raises Refused: it was completed just now, and the bundle has other custodians already.
    """
    if not os.path.lexists(draft):
        return
    try:
        manifest: Manifest | None = open_folder(draft, workspace.trust.holder).manifest
    except DutchdoorError:
        manifest = None
    if manifest is not None and manifest.digest == bundle.digest:
        last = _last_rotation(workspace, bundle)
        now = open_folder(bundle.path, workspace.trust.holder).manifest.custody.shares
        if last == manifest.custody.shares != now:
            _exchange(draft, bundle.path)
            shutil.rmtree(draft, ignore_errors=True)
            message = "a rotation that was broken off after it was recorded is complete now"
            hint = "see 'dutchdoor custody list'; rotate again if you still want to"
            raise Refused(message, code="rotation_completed", hint=hint)
    shutil.rmtree(draft, ignore_errors=True)


def _last_rotation(workspace: Workspace, bundle: Bundle) -> str:
    last, kind = "", f'"kind":"{EntryKind.CUSTODY_ROTATED}"'.encode()
    workspace.reader.refresh()
    for _, data in workspace.reader.entries():
        if kind in data[-80:]:
            body = Entry.decode(data).body
            last = str(body["shares"]) if body["bundle"] == bundle.digest else last
    return last


def _exchange(draft: Path, path: Path) -> None:
    """Let the two folders change places: every reader sees one whole bundle or the other.

    Raises OSError: the file system cannot; then nothing has changed.
    """
    library = ctypes.CDLL(None, use_errno=True)
    result = library.renameat2(
        _AT_FDCWD, os.fsencode(draft), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    sync_folder(path.parent)


def _must_exchange(parent: Path) -> None:
    """Raises Unavailable: this file system cannot let two folders change places."""
    with tempfile.TemporaryDirectory(prefix=".exchange-", dir=parent) as folder:
        first, second = Path(folder, "first"), Path(folder, "second")
        first.mkdir()
        second.mkdir()
        try:
            _exchange(first, second)
        except OSError as error:
            raise _unavailable(error) from error


def _unavailable(error: OSError) -> Unavailable:
    message = f"the bundle's folder cannot be replaced: {error.strerror}"
    hint = "make room, or use a file system as ext4, xfs, btrfs or tmpfs; then rotate again"
    return Unavailable(message, code="rotation_unavailable", hint=hint)
